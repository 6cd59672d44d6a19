//! Bytes into lines, in bounded memory.

/// Longest line that is kept, bytes.
const LONGEST: usize = 64 << 10;

/// Cuts a stream into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    line: Vec<u8>,
    cut: usize,
}

impl Lines {
    /// Takes `bytes`, and gives every line that they end. Bytes that are not UTF-8 are replaced.
    pub(super) fn take(&mut self, bytes: &[u8], each: &mut dyn FnMut(&str)) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let (line, after) = rest.split_at(end);
            self.keep(line);
            self.give(each);
            rest = after.get(1..).unwrap_or_default();
        }
        self.keep(rest);
    }

    /// Gives the line that no line feed ended, if there is one.
    pub(super) fn finish(&mut self, each: &mut dyn FnMut(&str)) {
        if !self.line.is_empty() {
            self.give(each);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LONGEST.saturating_sub(self.line.len()).min(bytes.len());
        let (kept, cut) = bytes.split_at(room);
        self.line.extend_from_slice(kept);
        self.cut += cut.len();
    }

    fn give(&mut self, each: &mut dyn FnMut(&str)) {
        let text = String::from_utf8_lossy(&self.line);
        match self.cut {
            0 => each(text.trim_end()),
            cut => each(&format!("{}… ({cut} bytes cut)", text.trim_end())),
        }
        self.line.clear();
        self.cut = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_are_cut_and_long_ones_say_what_is_gone() {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        let mut each = |line: &str| found.push(line.to_owned());
        for piece in [&b"on"[..], b"e\r\ntw", b"o\n\nthr", b"ee"] {
            lines.take(piece, &mut each);
        }
        lines.finish(&mut each);
        lines.finish(&mut each);
        lines.take(&vec![b'x'; LONGEST + 5], &mut each);
        lines.take(b"\nlast\n", &mut each);
        assert_eq!(found.len(), 6);
        assert_eq!(found[..4], ["one", "two", "", "three"]);
        assert!(found[4].ends_with("x… (5 bytes cut)") && found[4].len() < LONGEST + 40);
        assert_eq!(found[5], "last");
    }
}
