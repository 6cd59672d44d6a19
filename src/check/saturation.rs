//! Whether the answers of a graph depend on the processor: integer products that may leave 16 bits where there is no VNNI.
//!
//! Proven from the file alone ([`products`]), so that a machine with VNNI tells too, where nothing can be seen of it.

use crate::findings::CheckResult;
use crate::findings::verdict::plural;
use crate::onnx::Model;
use crate::onnx::products::{PairSum, Product, products};
use crate::processor::InstructionSet;
use crate::vocabulary::Status;

/// The check's name in the report. It does not gate: what the outputs are here decides.
pub const NAME: &str = "saturation";

/// What to do about a graph that can saturate.
pub const HINT: &str = "let `trtgate export` make the INT8 graph for processors; in one of your own, unsigned weights, weights in 7 bits (`reduce_range`) or \
     activations up to 127 cannot saturate; ONNX Runtime's `session.x64quantprecision` computes such products exactly, slower";

/// The integer products of one graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saturation {
    products: Vec<Product>,
}

impl Saturation {
    /// Reads the products from a graph.
    pub fn of(model: &Model) -> Self {
        Self { products: products(model) }
    }

    /// One product that overflows where pairs are summed in 16 bits.
    #[cfg(test)]
    pub(crate) fn unproven() -> Self {
        let sum = PairSum::Narrow { factor: 255, weights: (127, 127) };
        Self { products: vec![Product { name: "conv".to_owned(), operator: "Conv".to_owned(), sum }] }
    }

    /// Whether it is proven that no processor saturates; also where there are no integer products.
    pub fn is_proven(&self) -> bool {
        self.products.iter().all(|product| product.sum.fits())
    }

    /// The products that are not proven in `source` already: what a conversion added.
    #[must_use]
    pub fn beyond(mut self, source: &Self) -> Self {
        let brought = |product: &Product| {
            source
                .products
                .iter()
                .any(|other| !other.sum.fits() && (&other.name, &other.operator) == (&product.name, &product.operator))
        };
        self.products.retain(|product| !brought(product));
        self
    }

    /// The product that overflows by the most, and what it may sum; `None` where none can.
    pub fn worst(&self) -> Option<String> {
        let overflow = |product: &&Product| match product.sum {
            PairSum::Narrow { factor, weights } => factor * (weights.0 + weights.1).abs(),
            PairSum::Wide | PairSum::Unbounded(_) => 0,
        };
        let faults = self.products.iter().filter(|product| !product.sum.fits());
        let worst = faults.max_by_key(overflow)?;
        let Product { name, operator, sum } = worst;
        Some(match sum {
            PairSum::Narrow { factor, weights: (one, other) } => {
                let total = factor * (one + other);
                let (other, sign) = (other.abs(), if *other < 0 { '-' } else { '+' });
                format!("`{name}` ({operator}) may sum {factor} × ({one} {sign} {other}) = {total}")
            }
            PairSum::Wide | PairSum::Unbounded(_) => format!("nothing bounds the sums of `{name}` ({operator})"),
        })
    }

    /// As a check of the report; `processor` ran the cell. `None` for a graph without integer products.
    pub fn check(&self, processor: Option<&InstructionSet>) -> Option<CheckResult> {
        let all = self.products.len();
        if all == 0 {
            return None;
        }
        let result = |status, detail| CheckResult { name: NAME.to_owned(), status, gating: false, detail };
        let Some(worst) = self.worst() else {
            let detail = format!("none of {} can leave 16 bits, on any processor", plural(all, "integer product"));
            return Some(result(Status::Pass, detail));
        };
        let others = self.products.iter().filter(|product| !product.sum.fits()).count() - 1;
        let others = match others {
            0 => String::new(),
            others => format!(" (so may {others} more of its {})", plural(all, "integer product")),
        };
        let here = match processor {
            Some(processor) if processor.sums_pairs_in_16_bits() => {
                format!("; this one ({processor}) is such a processor")
            }
            Some(processor) => format!("; this one ({processor}) is not, and its answers need not be theirs"),
            None => String::new(),
        };
        let detail =
            format!("this graph saturates on processors without VNNI: {worst}, more than 16 bits hold{others}{here}");
        Some(result(Status::Fail, detail))
    }

    /// Why a cell fails on `processor`, and what to do: `exact` says whether it passes with exact products, where that made
    /// any difference to its outputs.
    pub fn cause(&self, processor: &InstructionSet, exact: Status) -> Option<String> {
        let worst = self.worst()?;
        let verdict = match exact {
            Status::Pass => "with exact products the cell passes",
            _ => "with exact products the cell does not pass either",
        };
        Some(format!(
            "integer products saturate on this processor ({processor}, no VNNI): {worst}, more than 16 bits hold; {verdict}"
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn product(name: &str, sum: PairSum) -> Product {
        Product { name: name.to_owned(), operator: "Conv".to_owned(), sum }
    }

    fn narrow(name: &str, factor: i64, weights: (i64, i64)) -> Product {
        product(name, PairSum::Narrow { factor, weights })
    }

    fn set(names: &str) -> InstructionSet {
        serde_json::from_str(&format!("\"{names}\"")).unwrap()
    }

    #[test]
    fn what_cannot_saturate_passes_and_no_product_is_no_check() {
        assert_eq!(Saturation::default().check(None), None);
        let sound = Saturation { products: vec![narrow("a", 127, (127, 127)), product("b", PairSum::Wide)] };
        let check = sound.check(Some(&set("avx2"))).unwrap();
        assert_eq!((check.status, check.gating), (Status::Pass, false));
        assert_eq!(check.detail, "none of 2 integer products can leave 16 bits, on any processor");
        assert_eq!(sound.cause(&set("avx2"), Status::Pass), None);
    }

    #[test]
    fn the_worst_product_is_named_with_what_it_sums() {
        let products =
            vec![narrow("a", 255, (100, 100)), narrow("b", 255, (-127, -100)), product("c", PairSum::Unbounded("?"))];
        let faulty = Saturation { products };
        let told = |names: &str| faulty.check(Some(&set(names))).unwrap();
        assert_eq!(told("avx2").status, Status::Fail);
        insta::assert_snapshot!(
            [told("avx2").detail, told("avx512+avx512-vnni").detail, faulty.cause(&set("avx2"), Status::Pass).unwrap()]
                .join("\n")
        );
        let source = Saturation { products: vec![narrow("b", 255, (-127, -100)), product("c", PairSum::Wide)] };
        assert_eq!(faulty.clone().beyond(&source).worst().unwrap(), "`a` (Conv) may sum 255 × (100 + 100) = 51000");
        let unknown = Saturation { products: vec![product("c", PairSum::Unbounded("?"))] };
        assert!(!unknown.is_proven());
        assert_eq!(unknown.worst().unwrap(), "nothing bounds the sums of `c` (Conv)");
    }
}
