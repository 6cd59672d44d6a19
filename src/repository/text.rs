//! Protobuf's text format (<https://protobuf.dev/reference/protobuf/textformat-spec/>), read into fields with their places, as
//! the parser of Triton's core takes it: comments, lists, angle brackets, strings in parts, hexadecimal and octal numbers.
//!
//! What a field may hold is not known here; `schema.rs` says that.

use std::ops::Range;

/// Messages within each other at most; those of a configuration end at seven.
const DEEPEST: usize = 32;
/// Fields of a file at most.
const MOST: usize = 20_000;

/// A field as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Where the name stands.
    pub name_span: Range<usize>,
    /// What it holds.
    pub value: Value,
    /// Where that stands.
    pub span: Range<usize>,
    /// Whether a colon stood behind the name: numbers and text need one.
    pub colon: bool,
    /// Whether it stood in a list.
    pub listed: bool,
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Further fields.
    Message(Vec<Field>),
    /// A number, its minus apart; none where it does not fit.
    Integer(Option<i128>),
    /// A number with a point or an exponent.
    Float,
    /// Text.
    Text(String),
    /// A bare word: a name of an enumeration, `true`.
    Word(String),
    /// An empty list.
    Nothing,
}

/// Why a text is not of this format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub span: Range<usize>,
    /// What, in words.
    pub message: String,
}

/// The fields of `text`, until its end or its first fault.
pub fn parse(text: &str) -> (Vec<Field>, Option<Fault>) {
    let mut parser = Parser { lexer: Lexer { text, at: 0 }, ahead: None, fields: 0 };
    let mut fields = Vec::new();
    let fault = parser.message(&mut fields, None, 0).err();
    (fields, fault)
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    Integer(Option<i128>),
    Float,
    Text(String),
    Sign(char),
    End,
}

impl Token {
    fn words(&self) -> String {
        match self {
            Self::Name(name) => format!("`{name}`"),
            Self::Integer(Some(number)) => format!("`{number}`"),
            Self::Integer(None) | Self::Float => "a number".to_owned(),
            Self::Text(_) => "text".to_owned(),
            Self::Sign(sign) => format!("`{sign}`"),
            Self::End => "the end of the file".to_owned(),
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self, wanted: impl Fn(char) -> bool) -> Option<char> {
        let next = self.peek().filter(|&next| wanted(next))?;
        self.at += next.len_utf8();
        Some(next)
    }

    /// Takes all that is `wanted`; how many.
    fn run(&mut self, wanted: impl Fn(char) -> bool) -> usize {
        let mut count = 0;
        while self.take(&wanted).is_some() {
            count += 1;
        }
        count
    }

    fn fault<T>(&self, start: usize, message: impl Into<String>) -> Result<T, Fault> {
        let end =
            self.at.max(start + self.text.get(start..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8));
        Err(Fault { span: start..end, message: message.into() })
    }

    fn next(&mut self) -> Result<(Token, Range<usize>), Fault> {
        loop {
            self.run(|next| matches!(next, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}'));
            if self.take(|next| next == '#').is_none() {
                break;
            }
            self.run(|next| next != '\n');
        }
        let start = self.at;
        let Some(first) = self.peek() else { return Ok((Token::End, start..start)) };
        let token = match first {
            'a'..='z' | 'A'..='Z' | '_' => {
                self.run(|next| next.is_ascii_alphanumeric() || next == '_');
                Token::Name(self.text.get(start..self.at).unwrap_or_default().to_owned())
            }
            '0'..='9' => self.number(start)?,
            '.' if self.rest().chars().nth(1).is_some_and(|next| next.is_ascii_digit()) => self.number(start)?,
            '"' | '\'' => {
                self.at += 1;
                Token::Text(self.string(first, start)?)
            }
            '\u{feff}' => {
                self.at += first.len_utf8();
                return self.fault(start, "a byte order mark, which is no text of this format");
            }
            _ if !first.is_ascii() => {
                self.at += first.len_utf8();
                return self.fault(start, format!("`{first}` outside of text and comments"));
            }
            _ if first.is_ascii_control() => {
                self.at += 1;
                return self.fault(start, "a control character");
            }
            sign => {
                self.at += 1;
                Token::Sign(sign)
            }
        };
        Ok((token, start..self.at))
    }

    fn number(&mut self, start: usize) -> Result<Token, Fault> {
        let digits =
            |text: &str, base| i128::from_str_radix(text, base).ok().filter(|number| *number <= i128::from(u64::MAX));
        let hexadecimal = self.rest().starts_with("0x") || self.rest().starts_with("0X");
        let token = if hexadecimal {
            self.at += 2;
            if self.run(|next| next.is_ascii_hexdigit()) == 0 {
                return self.fault(start, "`0x` without digits");
            }
            Token::Integer(digits(self.text.get(start + 2..self.at).unwrap_or_default(), 16))
        } else {
            self.run(|next| next.is_ascii_digit());
            let mut float = self.take(|next| next == '.').is_some();
            self.run(|next| float && next.is_ascii_digit());
            if self.take(|next| matches!(next, 'e' | 'E')).is_some() {
                float = true;
                self.take(|next| matches!(next, '+' | '-'));
                if self.run(|next| next.is_ascii_digit()) == 0 {
                    return self.fault(start, "an exponent without digits");
                }
            }
            float |= self.take(|next| matches!(next, 'f' | 'F')).is_some();
            let text = self.text.get(start..self.at).unwrap_or_default();
            match text.strip_prefix('0') {
                _ if float => Token::Float,
                Some(octal) if !octal.is_empty() => {
                    if octal.contains(['8', '9']) {
                        return self.fault(start, "numbers that begin with 0 are octal, and have no 8 or 9");
                    }
                    Token::Integer(digits(octal, 8))
                }
                _ => Token::Integer(digits(text, 10)),
            }
        };
        match self.peek() {
            Some(next) if next.is_ascii_alphanumeric() || next == '_' => {
                self.fault(start, "a number and a name without a space between them")
            }
            Some('.') => self.fault(start, "a number with a second point"),
            _ => Ok(token),
        }
    }

    /// The rest of a string that `quote` ends.
    fn string(&mut self, quote: char, start: usize) -> Result<String, Fault> {
        let mut bytes = Vec::new();
        loop {
            match self.take(|_| true) {
                None | Some('\n') => return self.fault(start, "text that does not end in its line"),
                Some('\\') => self.escape(&mut bytes)?,
                Some(end) if end == quote => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
                Some(other) => bytes.extend(other.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<(), Fault> {
        let start = self.at - 1;
        let Some(kind) = self.take(|_| true) else { return self.fault(start, "text that does not end") };
        let digits = |lexer: &mut Self, base: u32, most: usize| {
            let from = lexer.at;
            while lexer.at - from < most && lexer.take(|next| next.is_digit(base)).is_some() {}
            u32::from_str_radix(lexer.text.get(from..lexer.at).unwrap_or_default(), base).ok()
        };
        let unknown = "an escape that is none";
        match kind {
            'a' => bytes.push(7),
            'b' => bytes.push(8),
            'f' => bytes.push(12),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            'v' => bytes.push(11),
            '\\' | '?' | '\'' | '"' => bytes.extend(kind.encode_utf8(&mut [0; 4]).bytes()),
            '0'..='7' => {
                self.at -= 1;
                // Three digits may say more than a byte: it is cut, as the parser does.
                bytes.push((digits(self, 8, 3).unwrap_or_default() & 0xff) as u8);
            }
            'x' | 'X' => match digits(self, 16, 2) {
                Some(byte) => bytes.push((byte & 0xff) as u8),
                None => return self.fault(start, unknown),
            },
            'u' | 'U' => {
                let (from, length) = (self.at, if kind == 'u' { 4 } else { 8 });
                let code = digits(self, 16, length).filter(|_| self.at - from == length);
                match code.map(char::from_u32) {
                    Some(Some(character)) => bytes.extend(character.encode_utf8(&mut [0; 4]).bytes()),
                    // Half of a pair.
                    Some(None) if kind == 'u' => bytes.extend("\u{fffd}".bytes()),
                    _ => return self.fault(start, unknown),
                }
            }
            _ => return self.fault(start, unknown),
        }
        Ok(())
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    ahead: Option<(Token, Range<usize>)>,
    fields: usize,
}

impl Parser<'_> {
    fn peek(&mut self) -> Result<&(Token, Range<usize>), Fault> {
        let next = match self.ahead.take() {
            Some(next) => next,
            None => self.lexer.next()?,
        };
        Ok(self.ahead.insert(next))
    }

    fn next(&mut self) -> Result<(Token, Range<usize>), Fault> {
        match self.ahead.take() {
            Some(next) => Ok(next),
            None => self.lexer.next(),
        }
    }

    fn sign(&mut self, wanted: char) -> Result<Option<Range<usize>>, Fault> {
        if self.peek()?.0 == Token::Sign(wanted) { Ok(Some(self.next()?.1)) } else { Ok(None) }
    }

    /// The fields of a message until `end`, which none has that is a whole file; where it ended.
    fn message(&mut self, fields: &mut Vec<Field>, end: Option<char>, depth: usize) -> Result<usize, Fault> {
        loop {
            let (token, span) = self.next()?;
            match token {
                Token::End if end.is_none() => return Ok(span.end),
                Token::Sign(sign) if Some(sign) == end => return Ok(span.end),
                Token::Name(name) => self.field(fields, name, span, depth)?,
                Token::Sign('[') => {
                    return Err(Fault { span, message: "an extension, and a configuration has none".to_owned() });
                }
                other => {
                    return Err(Fault { span, message: format!("{} where a field's name is expected", other.words()) });
                }
            }
            if self.sign(';')?.is_none() {
                self.sign(',')?;
            }
        }
    }

    fn field(
        &mut self,
        fields: &mut Vec<Field>,
        name: String,
        name_span: Range<usize>,
        depth: usize,
    ) -> Result<(), Fault> {
        let colon = self.sign(':')?.is_some();
        let next = self.peek()?;
        if !colon && !matches!(next.0, Token::Sign('{' | '<' | '[')) {
            let message = format!("{} where `:` is expected behind `{name}`", next.0.words());
            return Err(Fault { span: next.1.clone(), message });
        }
        let Some(open) = self.sign('[')? else {
            let (value, span) = self.value(depth)?;
            return self.push(fields, Field { name, name_span, value, span, colon, listed: false });
        };
        if let Some(close) = self.sign(']')? {
            let span = open.start..close.end;
            return self.push(fields, Field { name, name_span, value: Value::Nothing, span, colon, listed: true });
        }
        loop {
            let (value, span) = self.value(depth)?;
            let (name, name_span) = (name.clone(), name_span.clone());
            self.push(fields, Field { name, name_span, value, span, colon, listed: true })?;
            if self.sign(']')?.is_some() {
                return Ok(());
            }
            if self.sign(',')?.is_none() {
                let (token, span) = self.next()?;
                return Err(Fault { span, message: format!("{} where `,` or `]` is expected", token.words()) });
            }
        }
    }

    fn push(&mut self, fields: &mut Vec<Field>, field: Field) -> Result<(), Fault> {
        self.fields += 1;
        if self.fields > MOST {
            return Err(Fault { span: field.name_span, message: format!("more than {MOST} fields") });
        }
        fields.push(field);
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<(Value, Range<usize>), Fault> {
        let (token, span) = self.next()?;
        match token {
            Token::Sign(open @ ('{' | '<')) => {
                if depth >= DEEPEST {
                    return Err(Fault { span, message: format!("messages deeper than {DEEPEST}") });
                }
                let mut fields = Vec::new();
                let end = self.message(&mut fields, Some(if open == '{' { '}' } else { '>' }), depth + 1)?;
                Ok((Value::Message(fields), span.start..end))
            }
            Token::Sign('-') => {
                let (token, end) = self.next()?;
                let span = span.start..end.end;
                match token {
                    Token::Integer(number) => Ok((Value::Integer(number.map(|number| -number)), span)),
                    Token::Float => Ok((Value::Float, span)),
                    // `-inf` is a number with a point.
                    Token::Name(name) if is_float_word(&name) => Ok((Value::Float, span)),
                    other => Err(Fault { span: end, message: format!("{} where a number is expected", other.words()) }),
                }
            }
            Token::Integer(number) => Ok((Value::Integer(number), span)),
            Token::Float => Ok((Value::Float, span)),
            Token::Name(name) => Ok((Value::Word(name), span)),
            Token::Text(mut text) => {
                let mut end = span.end;
                while let (Token::Text(part), place) = self.peek()? {
                    text.push_str(part);
                    end = place.end;
                    self.next()?;
                }
                Ok((Value::Text(text), span.start..end))
            }
            other => Err(Fault { span, message: format!("{} where a value is expected", other.words()) }),
        }
    }
}

/// Whether a bare word is a number.
pub(super) fn is_float_word(word: &str) -> bool {
    ["inf", "infinity", "nan"].iter().any(|known| word.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    fn sound(text: &str) -> Vec<Field> {
        let (fields, fault) = parse(text);
        assert_eq!(fault, None, "{text}");
        fields
    }

    /// What a real server said to each, in one configuration that is right otherwise.
    #[rstest]
    #[case::angles("a <b: 1>;c: 2, d: 3", true)]
    #[case::parts("a: \"in\" 'put'", true)]
    #[case::hexadecimal("a: 0x20 b: 040 c: - 3", true)]
    #[case::lists("a: [] b: [1, 2] c [{}, <>]", true)]
    #[case::comment("# caf\u{e9}\na: 1 # b", true)]
    #[case::escapes("a: \"\\x41\\n\\u00e9\\101 caf\u{e9}\"", true)]
    #[case::colon_before_a_message("a: { b: 1 }", true)]
    #[case::floats("a: 1.5 b: .5 c: 1e3 d: 1f e: -inf", true)]
    #[case::trailing_comma("a: [1,]", false)]
    #[case::no_space("a: 32b: 1", false)]
    #[case::no_colon("a \"b\"", false)]
    #[case::across_lines("a: \"b\nc\"", false)]
    #[case::extension("[foo.bar]: 3", false)]
    #[case::bad_escape("a: \"\\q\"", false)]
    #[case::byte_order_mark("\u{feff}a: 1", false)]
    #[case::json("{\"a\": 1}", false)]
    #[case::unclosed("a { b: 1", false)]
    #[case::octal("a: 08", false)]
    fn what_the_servers_parser_takes(#[case] text: &str, #[case] taken: bool) {
        let (_, fault) = parse(text);
        assert_eq!(fault.is_none(), taken, "{fault:?}");
        assert!(fault.is_none_or(|fault| fault.span.end <= text.len() && !fault.message.is_empty()));
    }

    #[test]
    fn values_and_their_places() {
        let text = "name: \"a\" 'b' dims: [ -1, 0x10 ] kind: KIND_CPU";
        let fields = sound(text);
        let values: Vec<&Value> = fields.iter().map(|field| &field.value).collect();
        let word = Value::Word("KIND_CPU".to_owned());
        assert_eq!(
            values,
            [&Value::Text("ab".to_owned()), &Value::Integer(Some(-1)), &Value::Integer(Some(16)), &word]
        );
        assert_eq!(text.get(fields[0].span.clone()), Some("\"a\" 'b'"));
        assert_eq!(text.get(fields[1].span.clone()), Some("-1"));
        assert!(fields[1].listed && !fields[3].listed);
        assert_eq!(sound("a: 99999999999999999999")[0].value, Value::Integer(None));
    }

    #[test]
    fn what_is_too_deep_or_too_long_is_refused_before_it_costs_anything() {
        let deep = "a {".repeat(1_000_000);
        assert!(parse(&deep).1.unwrap().message.contains("deeper than"));
        let long = "a: 1 ".repeat(MOST + 1);
        assert!(parse(&long).1.unwrap().message.contains("more than"));
    }
}
