//! What of a source file a mutant is about: the smallest expression that can be another one without its surroundings being
//! read differently.

use std::ops::Range;

use serde::Deserialize;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{BinOp, Expr};

use crate::edits::{Edit, Kind, active};

/// A mutant, in the words of `cargo mutants --list --json`.
#[derive(Clone, Deserialize)]
pub struct Mutant {
    pub number: u32,
    pub file: String,
    pub span: Span,
    pub replacement: String,
    pub genre: String,
}

#[derive(Clone, Copy, Deserialize)]
pub struct Span {
    pub start: Point,
    pub end: Point,
}

/// A place in a text, from 1; columns are characters.
#[derive(Clone, Copy, Deserialize)]
pub struct Point {
    pub line: usize,
    pub column: usize,
}

#[derive(Default)]
pub struct Found {
    pub edits: Vec<Edit>,
    /// Mutants that have no place, with the reason.
    pub refused: Vec<(u32, String)>,
}

/// Every mutant in place of what it replaces. No two may be about the same text.
pub fn plain(source: &str, mutants: &[&Mutant]) -> Result<Found, String> {
    let edits = mutants.iter().map(|mutant| {
        let range = range(source, mutant.span)?;
        Ok(Edit { number: mutant.number, range, kind: Kind::Plain(mutant.replacement.clone()) })
    });
    Ok(Found { edits: edits.collect::<Result<_, String>>()?, refused: Vec::new() })
}

/// Every mutant behind a switch, as far as one can express it.
pub fn switched(source: &str, mutants: &[&Mutant]) -> Result<Found, String> {
    let file = syn::parse_file(source).map_err(|error| error.to_string())?;
    let mut search = Search { source, wanted: Vec::new(), outer: Vec::new(), found: Found::default() };
    for mutant in mutants {
        let range = range(source, mutant.span)?;
        if mutant.genre == "FnValue" {
            search.body(mutant, range);
        } else {
            search.wanted.push((range, mutant));
        }
    }
    search.visit_file(&file);
    for (_, mutant) in search.wanted {
        search.found.refused.push((mutant.number, format!("nothing of the kind {} stands there", mutant.genre)));
    }
    Ok(search.found)
}

struct Search<'a, 'ast> {
    source: &'a str,
    /// What has no place yet.
    wanted: Vec<(Range<usize>, &'a Mutant)>,
    /// The expressions around the one that is looked at.
    outer: Vec<&'ast Expr>,
    found: Found,
}

impl<'a> Search<'a, '_> {
    /// The mutants of a range that are of a kind.
    fn take(&mut self, range: &Range<usize>, genre: &str) -> Vec<&'a Mutant> {
        self.wanted
            .extract_if(.., |(wanted, mutant)| wanted == range && mutant.genre == genre)
            .map(|(_, mutant)| mutant)
            .collect()
    }

    /// A function that returns early what the mutant returns.
    fn body(&mut self, mutant: &Mutant, range: Range<usize>) {
        let text = format!("if {} {{ return {}; }} ", active(mutant.number), mutant.replacement);
        self.add(mutant, range.start..range.start, Kind::Added(text), &mutant.replacement);
    }

    /// An expression with `part` of it replaced.
    fn instead(&mut self, mutant: &Mutant, whole: Range<usize>, part: Range<usize>) {
        let before = &self.source[whole.start..part.start];
        let text = format!("{before}{}{}", mutant.replacement, &self.source[part.end..whole.end]);
        self.add(mutant, whole, Kind::Instead(text.clone()), &text);
    }

    /// What cannot be read as an expression would hide what the compiler says of everything else.
    fn add(&mut self, mutant: &Mutant, range: Range<usize>, kind: Kind, expression: &str) {
        match syn::parse_str::<Expr>(expression) {
            Ok(_) => self.found.edits.push(Edit { number: mutant.number, range, kind }),
            Err(error) => self.found.refused.push((mutant.number, format!("no expression: {error}"))),
        }
    }

    fn binary(&mut self, node: &syn::ExprBinary) {
        let part = node.op.span().byte_range();
        for mutant in self.take(&part, "BinaryOperator") {
            let Ok(other) = syn::parse_str::<BinOp>(&mutant.replacement) else {
                self.found.refused.push((mutant.number, format!("`{}` is no operator", mutant.replacement)));
                continue;
            };
            // An operator that binds looser, or as tight, would draw what stands around this expression into it.
            let least = binding(&other).min(binding(&node.op));
            let whole = self.outer.iter().rev().map_while(|outer| match outer {
                Expr::Binary(outer) if binding(&outer.op) >= least => Some(outer),
                _ => None,
            });
            let whole = whole.last().unwrap_or(node);
            if has_let(whole) {
                self.found.refused.push((mutant.number, "a condition with `let` is no value".to_owned()));
            } else {
                self.instead(mutant, whole.span().byte_range(), part.clone());
            }
        }
    }
}

impl<'ast> Visit<'ast> for Search<'_, 'ast> {
    fn visit_expr(&mut self, node: &'ast Expr) {
        match node {
            Expr::Binary(node) => self.binary(node),
            Expr::Unary(unary) => {
                let part = unary.op.span().byte_range();
                for mutant in self.take(&part, "UnaryOperator") {
                    self.instead(mutant, node.span().byte_range(), part.clone());
                }
            }
            Expr::Struct(literal) => {
                for pair in literal.fields.pairs() {
                    let field = pair.value().span().byte_range();
                    let end = pair.punct().map_or(field.end, |comma| comma.span().byte_range().end);
                    let part = field.start..end;
                    for mutant in self.take(&part, "StructField") {
                        self.instead(mutant, node.span().byte_range(), part.clone());
                    }
                }
            }
            _ => {}
        }
        self.outer.push(node);
        visit::visit_expr(self, node);
        self.outer.pop();
    }

    fn visit_arm(&mut self, node: &'ast syn::Arm) {
        for mutant in self.take(&node.span().byte_range(), "MatchArm") {
            let end = node.pat.span().byte_range().end;
            let kind = Kind::Added(format!(" if !{}", active(mutant.number)));
            self.found.edits.push(Edit { number: mutant.number, range: end..end, kind });
        }
        if let Some((_, guard)) = &node.guard {
            let part = guard.span().byte_range();
            for mutant in self.take(&part, "MatchArmGuard") {
                self.instead(mutant, part.clone(), part.clone());
            }
        }
        visit::visit_arm(self, node);
    }
}

/// How tight an operator binds.
fn binding(operator: &BinOp) -> u8 {
    match operator {
        BinOp::Mul(_) | BinOp::Div(_) | BinOp::Rem(_) => 9,
        BinOp::Add(_) | BinOp::Sub(_) => 8,
        BinOp::Shl(_) | BinOp::Shr(_) => 7,
        BinOp::BitAnd(_) => 6,
        BinOp::BitXor(_) => 5,
        BinOp::BitOr(_) => 4,
        BinOp::Eq(_) | BinOp::Ne(_) | BinOp::Lt(_) | BinOp::Le(_) | BinOp::Gt(_) | BinOp::Ge(_) => 3,
        BinOp::And(_) => 2,
        BinOp::Or(_) => 1,
        _ => 0,
    }
}

/// Whether a `let` stands among the operands.
fn has_let(node: &syn::ExprBinary) -> bool {
    [&node.left, &node.right].into_iter().any(|side| match &**side {
        Expr::Let(_) => true,
        Expr::Binary(side) => has_let(side),
        _ => false,
    })
}

/// The bytes of a span.
fn range(source: &str, span: Span) -> Result<Range<usize>, String> {
    let byte = |point: Point| {
        let line_start = match point.line {
            1 => 0,
            line => source.match_indices('\n').nth(line - 2)?.0 + 1,
        };
        let rest = &source[line_start..];
        let offset = rest.char_indices().map(|(at, _)| at).chain([rest.len()]).nth(point.column - 1)?;
        Some(line_start + offset)
    };
    match (byte(span.start), byte(span.end)) {
        (Some(start), Some(end)) if start <= end => Ok(start..end),
        _ => Err(format!("it has no line {} or no column {}", span.end.line, span.end.column)),
    }
}

#[cfg(test)]
mod tests;
