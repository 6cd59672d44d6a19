//! Proof of precision: what was really computed in the precision that was asked for.
//!
//! Two witnesses. The first are the layers that the runtime reports: of the compute layers (convolutions and matrix
//! products) a share must run in the asked precision. Where a runtime reports what the graph declares beside what its
//! processor computes (ONNX Runtime), the graph is judged and the processor's stand-ins are shown. The second is the
//! artifact's size: an engine that was asked for in FP16 and is as large as the FP32 one is the FP32 one.

use std::collections::BTreeMap;

use crate::check::ladder::Check;
use crate::findings::CheckResult;
use crate::vocabulary::Layer;
use crate::vocabulary::{Precision, Status};

/// Layers named in a message.
const LAYERS_NAMED: usize = 4;

/// What the layers prove.
#[derive(Clone, Debug, PartialEq)]
pub struct PrecisionProof {
    /// The precision asked for.
    pub asked: Precision,
    /// Compute layers.
    pub compute: usize,
    /// Compute layers in the asked precision.
    pub proven: usize,
    /// Compute layers by what they run in, `unknown` among them.
    pub delivered: BTreeMap<String, usize>,
    /// Compute layers proven by what the graph declares although the processor computes in another precision, by that
    /// precision.
    pub stand_ins: BTreeMap<String, usize>,
    /// Compute layers inside of branches and loops that an INT8 graph leaves in floats, and are counted here alone: no
    /// quantiser reaches them.
    pub left: usize,
    /// Compute layers in integers that are so in the model itself. In FP32 and TF32, which ask for the model as it is, they are
    /// what was asked; of halves they are neither proof nor counterproof, and not among `compute`.
    pub own: usize,
    /// Compute layers of FP32 and TF32 in another float type that the model itself has them in.
    pub floats: usize,
    /// Whether the model itself has no compute layer, so that there is none to prove anything by.
    pub none: bool,
    /// Whether the layers are names alone: an engine that was built without detailed layers.
    pub names_only: bool,
    /// Names of the compute layers that do not run in the asked precision, with what they run in.
    pub others: Vec<(String, String)>,
    /// Least share of proven layers.
    pub floor: f64,
}

/// Counts the compute layers that run in `asked`; `floor` is the least share, 0 to 1. A layer whose precision is not known
/// proves nothing. `model` is what each compute layer of the model itself runs in by its own graph, where that is known: as many
/// layers may run in integers as it has in them, and in FP32 and TF32, which ask for the model as it is, in halves or doubles.
pub fn prove(asked: Precision, layers: &[Layer], floor: f64, model: Option<&[Option<&str>]>) -> PrecisionProof {
    let mut own: BTreeMap<Delivered, usize> = BTreeMap::new();
    for kind in model.into_iter().flatten().flatten() {
        *own.entry(Delivered::named(kind)).or_default() += 1;
    }
    let mut proof = PrecisionProof {
        asked,
        compute: 0,
        proven: 0,
        delivered: BTreeMap::new(),
        stand_ins: BTreeMap::new(),
        left: 0,
        own: 0,
        floats: 0,
        none: model.is_some_and(<[_]>::is_empty),
        names_only: !layers.is_empty() && layers.iter().all(|layer| layer.kind.is_empty() && !layer.compute),
        others: Vec::new(),
        floor,
    };
    for layer in layers.iter().filter(|layer| layer.compute) {
        let computed = Delivered::of(layer);
        // Only wider arithmetic may stand in for what the graph declares: FP32 computed in half would be a fault.
        let declared = layer.declared.as_deref().filter(|_| computed == Delivered::Fp32).map(Delivered::named);
        let delivered = declared.unwrap_or(computed);
        if asked == Precision::Int8 && layer.inside && matches!(delivered, Delivered::Fp32 | Delivered::Fp16) {
            proof.left += 1;
            continue;
        }
        let may_be_own = delivered == Delivered::Int8 || as_it_is(asked) && delivered != Delivered::Unknown;
        let left = own.get_mut(&delivered).filter(|left| may_be_own && !delivered.serves(asked) && **left > 0);
        if let Some(left) = left {
            *left -= 1;
            match delivered {
                Delivered::Int8 => proof.own += 1,
                _ => {
                    proof.floats += 1;
                    *proof.delivered.entry(delivered.as_str().to_owned()).or_default() += 1;
                }
            }
            if as_it_is(asked) {
                proof.compute += 1;
                proof.proven += 1;
            }
            continue;
        }
        proof.compute += 1;
        *proof.delivered.entry(delivered.as_str().to_owned()).or_default() += 1;
        if delivered.serves(asked) {
            proof.proven += 1;
            if !computed.serves(asked) {
                *proof.stand_ins.entry(computed.as_str().to_owned()).or_default() += 1;
            }
        } else {
            proof.others.push((layer.name.clone(), delivered.as_str().to_owned()));
        }
    }
    proof
}

/// Whether a precision asks for the model as it is, in the types of its own graph.
const fn as_it_is(asked: Precision) -> bool {
    matches!(asked, Precision::Fp32 | Precision::Tf32)
}

impl PrecisionProof {
    /// Share of compute layers in the asked precision; 0 where there are none.
    pub fn share(&self) -> f64 {
        if self.compute == 0 { 0.0 } else { self.proven as f64 / self.compute as f64 }
    }

    /// Whether the share reaches the floor; never without any compute layer, and not where more are left in floats inside of
    /// branches and loops than are proven.
    pub fn holds(&self) -> bool {
        self.compute > 0 && self.share() >= self.floor && self.left <= self.proven
    }

    /// The check of the report. Layers of which none computes prove nothing: `invalid`.
    pub fn result(&self, gating: bool) -> CheckResult {
        let name = Check::PrecisionProof.as_str().to_owned();
        if self.compute == 0 && self.left == 0 && self.none {
            let detail =
                "the model has no convolution and no matrix product: there is no precision to prove".to_owned();
            return CheckResult { name, status: Status::Unavailable, gating: false, detail };
        }
        if self.compute == 0 && self.left == 0 {
            let detail = match self.own {
                0 if self.names_only => "the engine tells the names of its layers alone, so that its precision cannot be \
                                         proven: build it with detailed layers (`trtexec --profilingVerbosity=detailed`)"
                    .to_owned(),
                0 => "the runtime lists no compute layer: the precision cannot be proven".to_owned(),
                own => format!(
                    "all {own} compute layers are integers in the model itself: nothing of it can run in {}",
                    self.asked
                ),
            };
            return CheckResult { name, status: Status::Invalid, gating, detail };
        }
        let Self { asked, compute, proven, own, .. } = self;
        let share = if as_it_is(*asked) && *own > 0 {
            format!(
                "of {compute} compute layers {own} are integers in the model itself, {} run in {asked}",
                proven - own
            )
        } else if self.stand_ins.is_empty() {
            format!("{proven} of {compute} compute layers run in {asked}")
        } else {
            let stand_ins = self.stand_ins.iter().map(|(precision, count)| format!("{count} in {precision}"));
            let stand_ins = stand_ins.collect::<Vec<_>>().join(", ");
            format!("{proven} of {compute} compute layers are {asked} in the graph; the processor computes {stand_ins}")
        };
        let mut left = match self.left {
            0 => String::new(),
            left => format!("; {left} inside of branches and loops stay in floats, where no quantiser reaches"),
        };
        if *own > 0 && !as_it_is(*asked) {
            left.push_str(&format!("; {own} more are integers in the model itself"));
        }
        if self.floats > 0 {
            left.push_str(&format!("; {} of them in the model's own types", self.floats));
        }
        if self.holds() {
            return CheckResult { name, status: Status::Pass, gating, detail: format!("{share}{left}") };
        }
        if self.compute == 0 || self.share() >= self.floor {
            let detail = format!("{asked} was asked, but only {proven} compute layers run in it{left}");
            return CheckResult { name, status: Status::Fail, gating, detail };
        }
        let delivered = self.delivered.iter().map(|(precision, count)| format!("{count} in {precision}"));
        let delivered = delivered.collect::<Vec<_>>().join(", ");
        let named = self.others.iter().take(LAYERS_NAMED).map(|(layer, precision)| format!("`{layer}` ({precision})"));
        let more = self.others.len().saturating_sub(LAYERS_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let detail = format!(
            "{asked} was asked, but of {compute} compute layers run {delivered} (at least {:.0} % must run in {asked}): {}{more}{left}",
            self.floor * 100.0,
            named.collect::<Vec<_>>().join(", ")
        );
        CheckResult { name, status: Status::Fail, gating, detail }
    }
}

/// What a layer runs in, from the names that the libraries use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Delivered {
    Fp32,
    Tf32,
    Fp16,
    Bf16,
    Fp8,
    Int8,
    Other,
    Unknown,
}

impl Delivered {
    fn of(layer: &Layer) -> Self {
        let named = layer.precision.as_deref().map_or(Self::Unknown, Self::named);
        // TensorRT's inspector calls both FP32; only the kernel's name tells them apart.
        let tensor_core = |tactic: &String| tactic.to_ascii_lowercase().contains("tf32");
        if named == Self::Fp32 && layer.tactic.as_ref().is_some_and(tensor_core) { Self::Tf32 } else { named }
    }

    /// The kind of a name of a type.
    fn named(precision: &str) -> Self {
        match precision.to_ascii_lowercase().as_str() {
            "fp32" | "float32" | "float" | "f32" => Self::Fp32,
            "tf32" => Self::Tf32,
            "fp16" | "float16" | "half" | "f16" => Self::Fp16,
            "bf16" | "bfloat16" => Self::Bf16,
            "fp8" => Self::Fp8,
            "int8" | "uint8" | "i8" | "u8" => Self::Int8,
            "" | "unknown" => Self::Unknown,
            _ => Self::Other,
        }
    }

    /// Whether a layer of this kind is what was asked. TF32 is a permission: where it gains nothing, FP32 stays.
    fn serves(self, asked: Precision) -> bool {
        match asked {
            Precision::Fp32 => self == Self::Fp32,
            Precision::Tf32 => matches!(self, Self::Fp32 | Self::Tf32),
            Precision::Fp16 | Precision::Fp16Flag => self == Self::Fp16,
            Precision::Int8 | Precision::Int8Calibrated => self == Self::Int8,
            Precision::Fp8 => self == Self::Fp8,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Tf32 => "tf32",
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
            Self::Fp8 => "fp8",
            Self::Int8 => "int8",
            Self::Other => "another type",
            Self::Unknown => "unknown",
        }
    }
}

/// The second witness: the artifact's size over that of the FP32 artifact.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SizeWitness {
    /// Bytes of the artifact.
    pub bytes: u64,
    /// Bytes of the FP32 artifact.
    pub fp32_bytes: u64,
    /// Least and largest ratio.
    pub band: [f64; 2],
}

impl SizeWitness {
    /// Size over the FP32 artifact's; infinite where that is empty.
    pub fn ratio(&self) -> f64 {
        if self.fp32_bytes == 0 { f64::INFINITY } else { self.bytes as f64 / self.fp32_bytes as f64 }
    }

    /// Whether the ratio keeps within the band, both ends included.
    pub fn holds(&self) -> bool {
        let [least, most] = self.band;
        self.bytes > 0 && self.ratio() >= least && self.ratio() <= most
    }

    /// The check of the report.
    pub fn result(&self, gating: bool) -> CheckResult {
        let [least, most] = self.band;
        let status = if self.holds() { Status::Pass } else { Status::Fail };
        let detail = format!(
            "{} bytes, {:.2} × the FP32 artifact's {}; {least:.2} to {most:.2} × expected",
            self.bytes,
            self.ratio(),
            self.fp32_bytes
        );
        CheckResult { name: Check::Size.as_str().to_owned(), status, gating, detail }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    fn layer(name: &str, precision: Option<&str>, tactic: Option<&str>, compute: bool) -> Layer {
        Layer {
            name: name.to_owned(),
            kind: "Convolution".to_owned(),
            precision: precision.map(str::to_owned),
            declared: None,
            inside: false,
            tactic: tactic.map(str::to_owned),
            compute,
            outputs: Vec::new(),
        }
    }

    fn network(precision: &str, tactic: Option<&str>) -> Vec<Layer> {
        let mut layers: Vec<Layer> =
            (0..6).map(|index| layer(&format!("conv{index}"), Some(precision), tactic, true)).collect();
        layers.push(layer("reformat", Some("fp32"), None, false));
        layers
    }

    #[rstest]
    #[case::fp16(Precision::Fp16, "FP16", None, Status::Pass)]
    #[case::fp16_flag(Precision::Fp16Flag, "Half", None, Status::Pass)]
    #[case::fp16_came_out_fp32(Precision::Fp16, "fp32", None, Status::Fail)]
    #[case::fp16_came_out_tf32(
        Precision::Fp16Flag,
        "fp32",
        Some("sm80_xmma_fprop_implicit_gemm_tf32f32"),
        Status::Fail
    )]
    #[case::fp16_came_out_bf16(Precision::Fp16, "bf16", None, Status::Fail)]
    #[case::fp32(Precision::Fp32, "fp32", Some("sm80_xmma_fprop_implicit_gemm_f32f32"), Status::Pass)]
    #[case::fp32_came_out_tf32(Precision::Fp32, "Float", Some("SM80_XMMA_TF32F32"), Status::Fail)]
    #[case::tf32(Precision::Tf32, "fp32", Some("xmma_tf32f32"), Status::Pass)]
    #[case::tf32_may_stay_fp32(Precision::Tf32, "fp32", None, Status::Pass)]
    #[case::int8(Precision::Int8, "int8", None, Status::Pass)]
    #[case::int8_came_out_fp16(Precision::Int8Calibrated, "fp16", None, Status::Fail)]
    #[case::unknown_proves_nothing(Precision::Fp32, "unknown", None, Status::Fail)]
    #[case::a_new_type(Precision::Int8, "fp4", None, Status::Fail)]
    fn the_layers_decide(
        #[case] asked: Precision,
        #[case] precision: &str,
        #[case] tactic: Option<&str>,
        #[case] status: Status,
    ) {
        assert_eq!(prove(asked, &network(precision, tactic), 0.8, None).result(true).status, status);
    }

    #[test]
    fn the_message_names_what_was_delivered() {
        let proof = prove(Precision::Fp16, &network("fp32", Some("gemm_tf32f32")), 0.8, None);
        insta::assert_snapshot!(proof.result(true).detail, @"fp16 was asked, but of 6 compute layers run 6 in tf32 (at least 80 % must run in fp16): `conv0` (tf32), `conv1` (tf32), `conv2` (tf32), `conv3` (tf32) and 2 more");
    }

    fn declared(declared: &str, computed: &str) -> Vec<Layer> {
        let mut layers = network(computed, None);
        layers.iter_mut().for_each(|layer| layer.declared = Some(declared.to_owned()));
        layers
    }

    #[rstest]
    #[case::fp16_between_casts(Precision::Fp16, "fp16", "fp32", Status::Pass)]
    #[case::int8_between_quantizers(Precision::Int8, "int8", "fp32", Status::Pass)]
    #[case::an_fp32_graph_posing_as_fp16(Precision::Fp16, "fp32", "fp32", Status::Fail)]
    #[case::an_fp32_graph_computed_in_half(Precision::Fp32, "fp32", "fp16", Status::Fail)]
    #[case::an_int8_graph_computed_in_half(Precision::Int8, "int8", "fp16", Status::Fail)]
    fn wider_arithmetic_may_stand_in_for_what_the_graph_declares(
        #[case] asked: Precision,
        #[case] graph: &str,
        #[case] computed: &str,
        #[case] status: Status,
    ) {
        assert_eq!(prove(asked, &declared(graph, computed), 0.8, None).result(true).status, status);
    }

    #[test]
    fn the_message_tells_what_stood_in() {
        let detail = prove(Precision::Int8, &declared("int8", "fp32"), 0.8, None).result(true).detail;
        insta::assert_snapshot!(detail, @"6 of 6 compute layers are int8 in the graph; the processor computes 6 in fp32");
    }

    #[rstest]
    #[case::few(2, 2, Status::Pass)]
    #[case::most(2, 3, Status::Fail)]
    #[case::all(0, 3, Status::Fail)]
    fn what_no_quantiser_reaches_is_told_apart(
        #[case] quantised: usize,
        #[case] inside: usize,
        #[case] status: Status,
    ) {
        let one = |precision: &str, inside| Layer { inside, ..layer("conv", Some(precision), None, true) };
        let layers: Vec<Layer> = std::iter::repeat_n(one("int8", false), quantised)
            .chain(std::iter::repeat_n(one("fp32", true), inside))
            .collect();
        let found = prove(Precision::Int8, &layers, 0.8, None).result(true);
        assert_eq!(found.status, status, "{}", found.detail);
        assert!(found.detail.ends_with("stay in floats, where no quantiser reaches"), "{}", found.detail);
        // Every other precision reaches into branches.
        assert_eq!(prove(Precision::Fp16, &layers, 0.8, None).result(true).status, Status::Fail);
    }

    #[rstest]
    #[case(4, true)]
    #[case(3, false)]
    fn the_floor_is_a_share_of_the_compute_layers(#[case] in_fp16: usize, #[case] holds: bool) {
        let layers: Vec<Layer> = (0..5)
            .map(|index| layer("conv", Some(if index < in_fp16 { "fp16" } else { "fp32" }), None, true))
            .collect();
        assert_eq!(prove(Precision::Fp16, &layers, 0.8, None).holds(), holds);
    }

    #[test]
    fn layers_that_compute_nothing_prove_nothing() {
        let idle = vec![layer("reshape", Some("fp16"), None, false)];
        for layers in [Vec::new(), idle] {
            assert_eq!(prove(Precision::Fp16, &layers, 0.0, None).result(true).status, Status::Invalid);
        }
        let missing = vec![layer("conv", None, None, true)];
        assert_eq!(prove(Precision::Fp16, &missing, 0.5, None).result(true).status, Status::Fail);
    }

    #[rstest]
    #[case(6_700_000, 13_200_000, true)]
    #[case(13_100_000, 13_200_000, false)]
    #[case(0, 13_200_000, false)]
    #[case(6_700_000, 0, false)]
    fn size_is_the_second_witness(#[case] bytes: u64, #[case] fp32_bytes: u64, #[case] holds: bool) {
        let witness = SizeWitness { bytes, fp32_bytes, band: [0.4, 0.75] };
        assert_eq!(witness.holds(), holds);
        assert_eq!(witness.result(true).status == Status::Pass, holds);
    }

    /// A model that comes quantised computes in integers in FP32, as its own graph does; no other model may.
    #[rstest]
    #[case::its_own(Precision::Fp32, 6, 0, 6, Status::Pass)]
    #[case::some_of_its_own(Precision::Tf32, 3, 3, 3, Status::Pass)]
    #[case::more_than_its_own(Precision::Fp32, 6, 0, 3, Status::Fail)]
    #[case::of_a_model_of_floats(Precision::Fp32, 6, 0, 0, Status::Fail)]
    #[case::computed_in_floats(Precision::Fp32, 0, 6, 6, Status::Pass)]
    #[case::nothing_is_left_for_halves(Precision::Fp16, 6, 0, 6, Status::Invalid)]
    #[case::asked_for(Precision::Int8, 6, 0, 6, Status::Pass)]
    fn integers_are_held_to_those_of_the_model_itself(
        #[case] asked: Precision,
        #[case] integers: usize,
        #[case] floats: usize,
        #[case] own: usize,
        #[case] status: Status,
    ) {
        let one = |precision: &str| layer("conv", Some(precision), None, true);
        let layers: Vec<Layer> =
            std::iter::repeat_n(one("int8"), integers).chain(std::iter::repeat_n(one("fp32"), floats)).collect();
        let found = prove(asked, &layers, 0.8, Some(&vec![Some("int8"); own])).result(true);
        assert_eq!(found.status, status, "{}", found.detail);
    }

    #[test]
    fn integers_of_the_model_itself_are_told() {
        let one = |precision: &str| layer("conv", Some(precision), None, true);
        let layers = [one("int8"), one("int8"), one("fp32"), one("fp16")];
        let of = |asked, layers: &[Layer]| prove(asked, layers, 0.5, Some(&[Some("int8"); 2])).result(true).detail;
        insta::assert_snapshot!(of(Precision::Fp32, &layers), @"of 4 compute layers 2 are integers in the model itself, 1 run in fp32");
        insta::assert_snapshot!(of(Precision::Fp16, &layers), @"1 of 2 compute layers run in fp16; 2 more are integers in the model itself");
        insta::assert_snapshot!(of(Precision::Fp16Flag, &layers[..2]), @"all 2 compute layers are integers in the model itself: nothing of it can run in fp16-flag");
    }

    /// What the model itself computes in is what FP32 asks for, and no more of it.
    #[rstest]
    #[case::in_halves(Precision::Fp32, "fp16", &[Some("fp16"), Some("fp16")], Status::Pass)]
    #[case::in_doubles(Precision::Fp32, "fp64", &[Some("fp64"), Some("fp64")], Status::Pass)]
    #[case::one_too_many(Precision::Fp32, "fp16", &[Some("fp16"), Some("fp32")], Status::Fail)]
    #[case::another(Precision::Fp32, "fp16", &[Some("fp64"), Some("fp64")], Status::Fail)]
    #[case::asked_in_halves(Precision::Fp16, "fp64", &[Some("fp64"), Some("fp64")], Status::Fail)]
    #[case::not_known(Precision::Fp32, "unknown", &[None, None], Status::Fail)]
    fn a_model_in_other_floats_is_taken_as_it_is(
        #[case] asked: Precision,
        #[case] runs: &str,
        #[case] model: &[Option<&str>],
        #[case] status: Status,
    ) {
        let layers: Vec<Layer> = network(runs, None).into_iter().filter(|layer| layer.compute).take(2).collect();
        assert_eq!(layers.len(), 2);
        let found = prove(asked, &layers, 1.0, Some(model)).result(true);
        assert_eq!(found.status, status, "{}", found.detail);
    }

    #[test]
    fn a_model_without_products_has_no_precision_to_prove() {
        let found = prove(Precision::Fp32, &[], 0.8, Some(&[])).result(true);
        assert_eq!((found.status, found.gating), (Status::Unavailable, false));
        // Where the model has some and the runtime lists none, nothing is proven.
        let hidden = prove(Precision::Fp32, &[], 0.8, Some(&[Some("fp32")])).result(true);
        assert_eq!((hidden.status, hidden.gating), (Status::Invalid, true));
    }

    /// An engine that tells names alone is told from one that tells nothing.
    #[test]
    fn names_alone_prove_nothing() {
        let named = |kind: &str, compute: bool| Layer { kind: kind.to_owned(), ..layer("conv", None, None, compute) };
        let only = |layers: &[Layer]| prove(Precision::Fp16, layers, 0.5, None).names_only;
        assert!(!only(&[]) && only(&[named("", false)]) && only(&[named("", false), named("", false)]));
        let others = [&[named("", true)][..], &[named("Conv", false)], &[named("", false), named("Conv", false)]];
        assert!(!others.into_iter().any(only));
    }
}
