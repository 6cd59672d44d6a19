//! Fields held to the schema: what is unknown, twice, or of another kind, as the server's parser finds it, and the rest by name.

use std::collections::BTreeMap;
use std::ops::Range;

use super::finding::Sink;
use super::rule::{Rule, Verdict};
use super::schema::{Count, FieldSchema, Kind};
use super::text::{Field, Value, is_float_word};

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where.
    pub span: Range<usize>,
}

/// A message whose fields the schema knows.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Where it stands.
    pub span: Range<usize>,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    name: &'static str,
    name_span: Range<usize>,
    span: Range<usize>,
    bound: Bound,
}

#[derive(Clone, Debug)]
enum Bound {
    Node(Node),
    Number(i128),
    Flag(bool),
    Text(String),
    /// A name of an enumeration; none for a number that names nothing.
    Named(Option<&'static str>),
    Float,
}

impl Bound {
    /// Whether the parser cannot tell it from a field that was not written.
    fn is_default(&self) -> bool {
        match self {
            Self::Node(_) | Self::Float => false,
            Self::Number(number) => *number == 0,
            Self::Flag(flag) => !flag,
            Self::Text(text) => text.is_empty(),
            Self::Named(_) => false,
        }
    }
}

impl Node {
    fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a Entry> + use<'a, 'n> {
        self.entries.iter().filter(move |entry| entry.name == name)
    }

    /// Whether the field was written; where its name stands.
    pub fn written(&self, name: &str) -> Option<Range<usize>> {
        self.all(name).last().map(|entry| entry.name_span.clone())
    }

    /// Text that is not empty.
    pub fn text(&self, name: &str) -> Option<At<String>> {
        self.texts(name).pop().filter(|text| !text.value.is_empty())
    }

    /// All texts of a field.
    pub fn texts(&self, name: &str) -> Vec<At<String>> {
        let texts = self.all(name).filter_map(|entry| match &entry.bound {
            Bound::Text(text) => Some(At { value: text.clone(), span: entry.span.clone() }),
            _ => None,
        });
        texts.collect()
    }

    /// A whole number; one beyond 64 bits is the largest.
    pub fn number(&self, name: &str) -> Option<At<i64>> {
        self.numbers(name).pop()
    }

    /// All whole numbers of a field.
    pub fn numbers(&self, name: &str) -> Vec<At<i64>> {
        let numbers = self.all(name).filter_map(|entry| match entry.bound {
            Bound::Number(number) => {
                Some(At { value: i64::try_from(number).unwrap_or(i64::MAX), span: entry.span.clone() })
            }
            _ => None,
        });
        numbers.collect()
    }

    /// Whether a flag is set; where.
    pub fn flag(&self, name: &str) -> Option<Range<usize>> {
        self.all(name).last().filter(|entry| matches!(entry.bound, Bound::Flag(true))).map(|entry| entry.span.clone())
    }

    /// A name of an enumeration.
    pub fn named(&self, name: &str) -> Option<At<Option<&'static str>>> {
        self.all(name).last().and_then(|entry| match entry.bound {
            Bound::Named(value) => Some(At { value, span: entry.span.clone() }),
            _ => None,
        })
    }

    /// A message.
    pub fn node(&self, name: &str) -> Option<&Self> {
        self.nodes(name).last()
    }

    /// All messages of a field.
    pub fn nodes<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a Self> + use<'a, 'n> {
        self.all(name).filter_map(|entry| match &entry.bound {
            Bound::Node(node) => Some(node),
            _ => None,
        })
    }
}

/// Holds `fields` to `schema`; what does not fit goes to `sink`, and is left out.
pub fn bind(fields: &[Field], schema: &[FieldSchema], of: &str, span: Range<usize>, sink: &mut Sink<'_>) -> Node {
    let mut node = Node { span, entries: Vec::new() };
    let mut groups: BTreeMap<&str, &str> = BTreeMap::new();
    for field in fields {
        let Some(known) = schema.iter().find(|known| known.name == field.name) else {
            unknown(field, schema, of, sink);
            continue;
        };
        if known.is_newer {
            sink.at(
                Rule::NewerField,
                Verdict::Note,
                &field.name_span,
                format!("`{}` is a field that Triton 24.10 does not have", field.name),
                "leave it out where an older server loads this repository",
            );
        }
        if let Some(bound) = value(field, known, sink) {
            once(field, known, &mut groups, &node, sink);
            node.entries.push(Entry {
                name: known.name,
                name_span: field.name_span.clone(),
                span: field.span.clone(),
                bound,
            });
        }
    }
    node
}

/// What stands twice that may stand once.
fn once<'a>(
    field: &Field,
    known: &FieldSchema,
    groups: &mut BTreeMap<&'a str, &'a str>,
    node: &Node,
    sink: &mut Sink<'_>,
) {
    let before = node.all(known.name).last();
    match known.count {
        Count::Many => {}
        Count::One => {
            let Some(before) = before else { return };
            let (verdict, words) = if before.bound.is_default() {
                (Verdict::Accepted, "the first is what a field is that was not written, so the second counts")
            } else {
                (Verdict::Refused, "a field that may stand once")
            };
            let message = format!("`{}` is written twice: {words}", field.name);
            sink.at(Rule::FieldTwice, verdict, &field.name_span, message, "keep one of them");
        }
        Count::Choice(group) => {
            if let Some(other) = groups.insert(group, known.name) {
                let message = if other == known.name {
                    format!("`{other}` is written twice")
                } else {
                    format!("`{}` beside `{other}`: a model has one of them", field.name)
                };
                sink.at(Rule::FieldTwice, Verdict::Refused, &field.name_span, message, "keep one of them");
            }
        }
    }
}

fn unknown(field: &Field, schema: &[FieldSchema], of: &str, sink: &mut Sink<'_>) {
    let near = nearest(&field.name, schema.iter().map(|known| known.name));
    let fix = near.map_or_else(
        || format!("take it out; `{of}` has {}", named(schema.iter().map(|known| known.name))),
        |near| format!("write `{near}`"),
    );
    let message = format!("`{of}` has no field `{}`", field.name);
    sink.at(Rule::UnknownField, Verdict::Refused, &field.name_span, message, fix);
}

fn named<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "no fields".to_owned() } else { names.join(", ") }
}

/// The known name that was meant: one that ends or begins so, or is a few letters off.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_ascii_lowercase();
    let off = |name: &str| {
        let name = name.to_ascii_lowercase();
        if lower.len() > 2 && name.ends_with(&format!("_{lower}")) {
            0
        } else {
            strsim::damerau_levenshtein(&lower, &name)
        }
    };
    let most = if word.len() > 64 { return None } else { 1 + word.len() / 4 };
    known.map(|name| (off(name), name)).filter(|(off, _)| *off <= most).min().map(|(_, name)| name)
}

fn value(field: &Field, known: &FieldSchema, sink: &mut Sink<'_>) -> Option<Bound> {
    let wrong = |sink: &mut Sink<'_>, expected: &str| {
        let message = format!("`{}` holds {expected}", field.name);
        sink.at(Rule::WrongValue, Verdict::Refused, &field.span, message, format!("write {expected}"));
        None
    };
    if field.listed && known.count != Count::Many {
        return wrong(sink, "one value, no list");
    }
    let is_message = matches!(known.kind, Kind::Message(_) | Kind::Entry { .. });
    if !field.colon && !is_message {
        let fix = format!("write `{}:`", field.name);
        let message = format!("`{}` is followed by `:` and its value", field.name);
        sink.at(Rule::Syntax, Verdict::Refused, &field.name_span, message, fix);
        return None;
    }
    match (&known.kind, &field.value) {
        // An empty list is as if nothing was written.
        (_, Value::Nothing) => None,
        (Kind::Message(schema), Value::Message(fields)) => {
            Some(Bound::Node(bind(fields, schema.fields, schema.name, field.span.clone(), sink)))
        }
        (Kind::Entry { numbered, value }, Value::Message(fields)) => {
            let key = if *numbered { Kind::Unsigned(64) } else { Kind::Text };
            let one = |name, kind| FieldSchema { name, kind, count: Count::One, is_newer: false };
            let schema = [one("key", key), one("value", value.map_or(Kind::Text, Kind::Message))];
            Some(Bound::Node(bind(fields, &schema, &field.name, field.span.clone(), sink)))
        }
        (Kind::Message(_) | Kind::Entry { .. }, _) => wrong(sink, "fields in braces"),
        (Kind::Text, Value::Text(text)) => Some(Bound::Text(text.clone())),
        (Kind::Text, _) => wrong(sink, "text in quotes"),
        (Kind::Bool, Value::Word(word)) if ["true", "True", "t"].contains(&word.as_str()) => Some(Bound::Flag(true)),
        (Kind::Bool, Value::Word(word)) if ["false", "False", "f"].contains(&word.as_str()) => Some(Bound::Flag(false)),
        (Kind::Bool, Value::Integer(Some(number @ (0 | 1)))) => Some(Bound::Flag(*number == 1)),
        (Kind::Bool, _) => wrong(sink, "`true` or `false`"),
        (Kind::Float, Value::Float | Value::Integer(_)) => Some(Bound::Float),
        (Kind::Float, Value::Word(word)) if is_float_word(word) => Some(Bound::Float),
        (Kind::Float, _) => wrong(sink, "a number"),
        (Kind::Signed(bits), Value::Integer(number)) => {
            let most = (1_i128 << (bits - 1)) - 1;
            match number.filter(|number| (-most - 1..=most).contains(number)) {
                Some(number) => Some(Bound::Number(number)),
                None => wrong(sink, &format!("a whole number of {bits} bits")),
            }
        }
        (Kind::Unsigned(bits), Value::Integer(number)) => {
            match number.filter(|number| (0..1_i128 << bits).contains(number)) {
                Some(number) => Some(Bound::Number(number)),
                None => wrong(sink, &format!("a whole number from 0, of {bits} bits")),
            }
        }
        (Kind::Signed(_) | Kind::Unsigned(_), _) => wrong(sink, "a whole number"),
        (Kind::Enumeration(names), Value::Word(word)) => {
            let found = names.iter().find(|(name, _)| name == word);
            if found.is_none() {
                let known = || names.iter().map(|(name, _)| *name);
                let fix = nearest(word, known())
                    .map_or_else(|| format!("write one of {}", named(known())), |near| format!("write `{near}`"));
                let message = format!("`{word}` is no name that `{}` knows", field.name);
                sink.at(Rule::UnknownName, Verdict::Refused, &field.span, message, fix);
            }
            found.map(|(name, _)| Bound::Named(Some(name)))
        }
        (Kind::Enumeration(names), Value::Integer(Some(number))) if i32::try_from(*number).is_ok() => {
            let found = names.iter().find(|(_, known)| i128::from(*known) == *number).map(|(name, _)| *name);
            if found.is_none() {
                let message = format!("{number} names nothing that `{}` knows", field.name);
                let fix = format!("write one of {}", named(names.iter().map(|(name, _)| *name)));
                sink.at(Rule::UnknownName, Verdict::Accepted, &field.span, message, fix);
            }
            Some(Bound::Named(found))
        }
        (Kind::Enumeration(_), _) => wrong(sink, "a name without quotes"),
    }
}
