//! Changes of a text that stand inside each other, and where each of them ends up.

use std::ops::Range;

/// A change for one mutant.
pub struct Edit {
    pub number: u32,
    /// What of the source it is about; empty where something is added.
    pub range: Range<usize>,
    pub kind: Kind,
}

pub enum Kind {
    /// An expression that is another one while the mutant is active; several may be about the same.
    Instead(String),
    /// What is added at a place.
    Added(String),
    /// What is written in place of the range, always.
    Plain(String),
}

/// Where a mutant stands in the written text.
#[derive(Debug, PartialEq)]
pub struct Place {
    pub number: u32,
    /// What it alone brought.
    pub own: Range<usize>,
    /// With the switch and with what it stands beside.
    pub whole: Range<usize>,
}

/// The text with all changes. A change inside an expression that another mutant replaces is kept in the original alone: one
/// mutant is active at a time.
pub fn apply(source: &str, mut edits: Vec<Edit>) -> (String, Vec<Place>) {
    // Outer ones first; what is added at a place stands before the expression that begins there.
    edits
        .sort_by_key(|edit| (edit.range.start, !edit.range.is_empty(), std::cmp::Reverse(edit.range.end), edit.number));
    let mut writer = Writer { source, text: String::new(), places: Vec::new() };
    writer.write(0..source.len(), &edits);
    (writer.text, writer.places)
}

struct Writer<'a> {
    source: &'a str,
    text: String,
    places: Vec<Place>,
}

impl Writer<'_> {
    fn write(&mut self, range: Range<usize>, mut edits: &[Edit]) {
        let mut position = range.start;
        while let Some(first) = edits.first() {
            self.text += &self.source[position..first.range.start];
            let same = match first.kind {
                Kind::Instead(_) => edits.iter().take_while(|edit| edit.range == first.range).count(),
                Kind::Added(_) | Kind::Plain(_) => 1,
            };
            let inner = edits[same..].iter().take_while(|edit| edit.range.start < first.range.end).count();
            self.change(&edits[..same], &edits[same..same + inner]);
            position = first.range.end;
            edits = &edits[same + inner..];
        }
        self.text += &self.source[position..range.end];
    }

    /// Writes changes of one range, and those inside it.
    fn change(&mut self, same: &[Edit], inner: &[Edit]) {
        let start = self.text.len();
        let mut owns = Vec::new();
        for (index, edit) in same.iter().enumerate() {
            let (before, text) = match &edit.kind {
                Kind::Instead(text) => {
                    let word = if index == 0 { "(if" } else { " else if" };
                    (format!("{word} {} {{ (", active(edit.number)), text)
                }
                Kind::Added(text) | Kind::Plain(text) => (String::new(), text),
            };
            self.text += &before;
            let own = self.text.len();
            self.text += text;
            owns.push((edit.number, own..self.text.len()));
            if matches!(edit.kind, Kind::Instead(_)) {
                self.text += ") }";
            }
        }
        if matches!(same[0].kind, Kind::Instead(_)) {
            self.text += " else { (";
            self.write(same[0].range.clone(), inner);
            self.text += ") })";
        }
        let whole = start..self.text.len();
        self.places.extend(owns.into_iter().map(|(number, own)| Place { number, own, whole: whole.clone() }));
    }
}

/// The question whether a mutant is the active one.
pub fn active(number: u32) -> String {
    format!("crate::mutant_switch::active({number})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instead(number: u32, range: Range<usize>, text: &str) -> Edit {
        Edit { number, range, kind: Kind::Instead(text.to_owned()) }
    }

    /// The text with the name of the switch cut short, and what each mutant brought.
    fn applied(source: &str, edits: Vec<Edit>) -> (String, Vec<(u32, String)>) {
        let (text, mut places) = apply(source, edits);
        places.sort_by_key(|place| place.number);
        let owns = places.into_iter().map(|place| (place.number, text[place.own].to_owned())).collect();
        (text.replace("crate::mutant_switch::active", "on"), owns)
    }

    #[test]
    fn mutants_of_one_expression_share_its_original() {
        let (text, owns) = applied("x(a < b);", vec![instead(2, 2..7, "a == b"), instead(1, 2..7, "a > b")]);
        assert_eq!(text, "x((if on(1) { (a > b) } else if on(2) { (a == b) } else { (a < b) }));");
        assert_eq!(owns, [(1, "a > b".to_owned()), (2, "a == b".to_owned())]);
    }

    #[test]
    fn what_stands_inside_is_changed_in_the_original_alone() {
        let edits = vec![
            instead(3, 0..1, "-a"),
            instead(2, 0..9, "a + b - c"),
            Edit { number: 1, range: 0..0, kind: Kind::Added("return; ".to_owned()) },
        ];
        let (text, owns) = applied("a * b - c", edits);
        assert_eq!(text, "return; (if on(2) { (a + b - c) } else { ((if on(3) { (-a) } else { (a) }) * b - c) })");
        assert_eq!(owns[2], (3, "-a".to_owned()));
    }

    #[test]
    fn plain_changes_stand_in_place_of_what_they_replace() {
        let edits = vec![Edit { number: 7, range: 2..3, kind: Kind::Plain("-".to_owned()) }];
        let (text, places) = apply("a + b", edits);
        assert_eq!(text, "a - b");
        assert_eq!(places, [Place { number: 7, own: 2..3, whole: 2..3 }]);
    }
}
