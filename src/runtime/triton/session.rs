//! A served model as a [`Session`]: each batch is a request, and nothing of an answer is believed that the protocol lets be checked.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::connect;
use super::scalars::Scalars;
use super::server::ModelServer;
#[cfg(any(test, fuzzing))]
use super::wire;
use super::wire::{Asked, Reply, short};
#[cfg(any(test, fuzzing))]
use super::{grpc, http::Client, rest::Rest};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::serve::Endpoint;
use crate::runtime::border;
use crate::runtime::{OpenRequest, Session, Taken};
use crate::tensor::{Feeds, Signature, Tensor, TensorSpec, element_count};

/// Bytes of an answer beside its tensors: the head, and the words of an error.
const BESIDE: u64 = 1 << 20;
/// Most bytes of an answer whose sizes the model leaves open.
const OPEN: u64 = 256 << 20;
/// How much larger than expected an answer may be and still be read, so that it can be said what is wrong with it: doubles in the
/// place of halves.
const WIDER: u64 = 4;
/// Requests of this process: each has an id of its own, whichever connection sends it.
static SENT: AtomicU64 = AtomicU64::new(1);

/// An endpoint that is asked.
pub(super) struct ServedSession {
    server: Box<dyn ModelServer>,
    endpoint: Endpoint,
    /// As the model is, and as its tensors go over the wire.
    signature: Signature,
    wire: Signature,
    scalars: Scalars,
    versions: Vec<String>,
    /// The version that answered first, where none was asked for.
    answered: Option<String>,
}

impl ServedSession {
    pub(super) fn open(request: &OpenRequest) -> Result<Self> {
        let endpoint = request.options.endpoint.as_deref().cloned();
        let endpoint = endpoint.ok_or_else(|| Error::usage("no `[serve]` says where the model is served"))?;
        let here = |error: Error| error.context(format!("the model served at `{}`", endpoint.place()));
        let mut server = connect(&endpoint, limit(&endpoint))?;
        server.server().map_err(here)?;
        let model = server.model().map_err(here)?;
        let declared = model.signature().map_err(here)?;
        let selected = border::select_outputs(&declared.outputs, &request.options.outputs)
            .map_err(|error| here(Error { kind: ErrorKind::Invalid, ..error }))?;
        let outputs = selected.into_iter().filter_map(|index| declared.outputs.get(index).cloned()).collect();
        // A configuration that cannot be read was told where the model was looked at.
        let told = server.configuration().ok().flatten();
        let scalars = told.map(|told| told.scalars()).unwrap_or_default();
        let wire = Signature { inputs: declared.inputs, outputs };
        Ok(Self {
            server,
            signature: scalars.presented(wire.clone()),
            wire,
            scalars,
            versions: model.versions.unwrap_or_default(),
            answered: None,
            endpoint,
        })
    }

    /// Holds an answer to its request and to the model's metadata; the tensors in the order of the signature.
    fn hold(&mut self, reply: Reply, id: &str, batch: Option<usize>) -> Result<Vec<Tensor>> {
        let other = |what: &str, key: &str, wanted: &str, found: Option<&str>| {
            Error::invalid(match found {
                Some(found) => format!("the answer is of the {what} `{}`, and `{wanted}` was asked", short(found)),
                None => format!("the answer carries no `{key}`, and `{wanted}` was asked"),
            })
        };
        if reply.id.as_deref() != Some(id) {
            return Err(other("request", "id", id, reply.id.as_deref()));
        }
        if reply.model.as_deref() != Some(self.endpoint.model.as_str()) {
            return Err(other("model", "model_name", &self.endpoint.model, reply.model.as_deref()));
        }
        self.hold_version(reply.version.as_deref().filter(|version| !version.is_empty()))?;
        let mut found = reply.outputs;
        let mut outputs = Vec::with_capacity(self.wire.outputs.len());
        for spec in &self.wire.outputs {
            let place = found.iter().position(|output| output.name == spec.name);
            let Some(place) = place else {
                let names: Vec<String> = found.iter().map(|output| format!("`{}`", short(&output.name))).collect();
                let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                return Err(Error::invalid(format!(
                    "the answer has no output `{}`, its outputs are {names}",
                    spec.name
                )));
            };
            let output = found.swap_remove(place);
            spec.check(&output).map_err(|error| {
                Error { kind: ErrorKind::Invalid, ..error }.context("the answer contradicts the model's metadata")
            })?;
            // What both sides leave open is the batch.
            if let (Some(batch), Some(None), Some(rows)) = (batch, spec.shape.first(), output.shape.first())
                && *rows != batch
            {
                return Err(Error::invalid(format!(
                    "output `{}` has {rows} rows, and {batch} samples were asked",
                    spec.name
                )));
            }
            outputs.push(self.scalars.received(output));
        }
        if let Some(stranger) = found.first() {
            return Err(Error::invalid(format!(
                "the answer has an output `{}` that was not asked",
                short(&stranger.name)
            )));
        }
        Ok(outputs)
    }

    /// Holds the version that answered to the one that was asked, or to one that the server has and that answered before.
    fn hold_version(&mut self, found: Option<&str>) -> Result<()> {
        let wrong = |what: String| Err(Error::invalid(what));
        let told = || {
            found.map_or_else(
                || "has no `model_version`".to_owned(),
                |found| format!("is of version `{}`", short(found)),
            )
        };
        if let Some(wanted) = &self.endpoint.version {
            return match found == Some(wanted.as_str()) {
                true => Ok(()),
                false => wrong(format!("the answer {}, and version `{wanted}` was asked", told())),
            };
        }
        // Some servers have no versions.
        let Some(version) = found else {
            return match self.versions.is_empty() && self.answered.is_none() {
                true => Ok(()),
                false => wrong(format!("the answer {}, and the server has versions", told())),
            };
        };
        if !self.versions.is_empty() && self.versions.iter().all(|known| known != version) {
            return wrong(format!("the answer {}, which is none of the model's {:?}", told(), self.versions));
        }
        match self.answered.get_or_insert_with(|| version.to_owned()) {
            first if first == version => Ok(()),
            first => wrong(format!("version `{first}` answered first, and now the answer {}", told())),
        }
    }

    /// The samples of what is fed, where the model leaves their number open.
    fn open_batch(&self, inputs: &[Cow<'_, Tensor>]) -> Option<usize> {
        let open = |input: &Cow<'_, Tensor>| {
            let spec = self.signature.inputs.iter().find(|spec| spec.name == input.name)?;
            spec.shape.first()?.is_none().then(|| input.batch())
        };
        let mut open = inputs.iter().map(open).collect::<Option<Vec<_>>>()?.into_iter();
        let first = open.next()?;
        open.all(|other| other == first).then_some(first)
    }
}

/// The most bytes that an answer may have.
fn most_bytes(outputs: &[TensorSpec], inputs: &[Cow<'_, Tensor>], batch: Option<usize>) -> u64 {
    let bytes = |spec: &TensorSpec| {
        let first = spec.shape.first().map(|size| size.or(batch));
        let rest = spec.shape.iter().skip(1).copied();
        let shape = first.into_iter().chain(rest).collect::<Option<Vec<_>>>()?;
        Some(element_count(&shape)? as u64 * spec.element_type.bytes()? as u64)
    };
    let expected = outputs.iter().map(bytes).sum::<Option<u64>>();
    // An identity of what was sent is no surprise.
    let sent: u64 = inputs.iter().map(|input| input.values.len() as u64).sum();
    expected.map_or(OPEN, |expected| expected.saturating_mul(WIDER)).max(sent.min(OPEN)).saturating_add(BESIDE)
}

impl Session for ServedSession {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, feeds: &Feeds) -> Result<Vec<Tensor>> {
        let bound = border::bind(&self.signature.inputs, feeds)?;
        let batch = self.open_batch(&bound);
        let bound = self.scalars.sent(bound);
        let id = format!("trtgate-{}", SENT.fetch_add(1, Ordering::Relaxed));
        let asked = Asked { id: &id, inputs: &bound, outputs: &self.wire.outputs };
        let most = most_bytes(&self.wire.outputs, &bound, batch);
        self.server.infer(&asked, most).and_then(|reply| self.hold(reply, &id, batch)).map_err(|error| {
            // A server that is gone in the middle of a cell is no server that was never there.
            let kind = if error.kind == ErrorKind::Missing { ErrorKind::Invalid } else { error.kind };
            let place = self.endpoint.place();
            Error { kind, ..error }.context(format!("the model served at `{place}` did not answer as it should"))
        })
    }

    fn offer(&mut self, feeds: &Feeds) -> Result<Taken> {
        match self.run(feeds) {
            Ok(outputs) => Ok(Taken::Outputs(outputs)),
            Err(error) => self.server.refusal().map(|reason| Taken::Refused(without_id(&reason))).ok_or(error),
        }
    }
}

/// A refusal without the id of its request, so that equal ones are counted together: Triton writes `[request id: …]` in front.
fn without_id(reason: &str) -> String {
    let Some((before, rest)) = reason.split_once("[request id: ") else { return reason.to_owned() };
    rest.split_once("] ").map_or_else(|| reason.to_owned(), |(_, after)| format!("{before}{after}"))
}

/// Longest wait for one answer of `endpoint`.
pub(super) const fn limit(endpoint: &Endpoint) -> Duration {
    Duration::from_secs(endpoint.timeout_seconds)
}

/// In the place of a head's length, for `fuzzing`: the answer came over gRPC.
#[cfg(any(test, fuzzing))]
pub(crate) const GRPC: usize = 0xfffe;

/// Reads an answer as a session does and holds it to a model of one input and one output; for `fuzzing`.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_answer(body: &[u8], head: Option<usize>) -> bool {
    let spec = |name: &str| TensorSpec {
        name: name.to_owned(),
        element_type: crate::tensor::ElementType::Float32,
        shape: vec![None, Some(2)],
    };
    let endpoint = Endpoint { timeout_seconds: 1, ..Endpoint::plain("http://h", "m") };
    let mut session = ServedSession {
        server: Box::new(Rest::new(Client::new("http://h", Duration::from_secs(1)), &endpoint)),
        signature: Signature { inputs: vec![spec("x")], outputs: vec![spec("y")] },
        wire: Signature { inputs: vec![spec("x")], outputs: vec![spec("y")] },
        scalars: Scalars::default(),
        versions: vec!["1".to_owned()],
        answered: None,
        endpoint,
    };
    let read = match head {
        // What is no length of a head is a sign of gRPC.
        Some(GRPC) => grpc::read(body),
        head => wire::read(body, head),
    };
    let Ok(reply) = read else { return false };
    let Ok(outputs) = session.hold(reply, "r1", Some(1)) else { return false };
    assert_eq!(outputs.iter().map(|output| output.values.len()).collect::<Vec<_>>(), [2], "an answer of another size");
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    fn spec(shape: &[Option<usize>]) -> TensorSpec {
        TensorSpec { name: "y".to_owned(), element_type: crate::tensor::ElementType::Float32, shape: shape.to_vec() }
    }

    #[test]
    fn equal_refusals_have_equal_words() {
        assert_eq!(
            without_id("503: [request id: trtgate-7] Exceeds maximum queue size"),
            "503: Exceeds maximum queue size"
        );
        assert_eq!(without_id("500: boom [request id: x"), "500: boom [request id: x");
    }

    #[test]
    fn an_answer_may_have_so_many_bytes_as_are_expected_and_some_more() {
        let input = Tensor::float32("x", vec![8, 4], vec![0.0; 32]).unwrap();
        let inputs = [Cow::Borrowed(&input)];
        assert_eq!(most_bytes(&[spec(&[None, Some(10)])], &inputs, Some(8)), 8 * 10 * 4 * WIDER + BESIDE);
        assert_eq!(most_bytes(&[spec(&[None, None])], &inputs, Some(8)), OPEN + BESIDE);
        assert_eq!(most_bytes(&[spec(&[Some(usize::MAX), Some(9)])], &inputs, None), OPEN + BESIDE);
    }

    #[rstest]
    #[case::sound(["r1", "m", "1", "y", "FP32", "[1,2]"], 8, true)]
    #[case::another_request(["r2", "m", "1", "y", "FP32", "[1,2]"], 8, false)]
    #[case::another_model(["r1", "n", "1", "y", "FP32", "[1,2]"], 8, false)]
    #[case::another_version(["r1", "m", "2", "y", "FP32", "[1,2]"], 8, false)]
    #[case::no_version(["r1", "m", "", "y", "FP32", "[1,2]"], 8, false)]
    #[case::another_output(["r1", "m", "1", "z", "FP32", "[1,2]"], 8, false)]
    #[case::doubles(["r1", "m", "1", "y", "FP64", "[1,2]"], 16, false)]
    #[case::another_shape(["r1", "m", "1", "y", "FP32", "[1,3]"], 12, false)]
    #[case::another_rank(["r1", "m", "1", "y", "FP32", "[2]"], 8, false)]
    #[case::another_batch(["r1", "m", "1", "y", "FP32", "[2,2]"], 16, false)]
    #[case::nothing(["r1", "m", "1", "y", "FP32", "[0,2]"], 0, false)]
    fn an_answer_is_held_to_its_request_and_to_the_metadata(
        #[case] words: [&str; 6],
        #[case] bytes: usize,
        #[case] sound: bool,
    ) {
        let [id, model, version, name, datatype, shape] = words;
        let head = format!(
            r#"{{"id":"{id}","model_name":"{model}","model_version":"{version}","outputs":[{{"name":"{name}","datatype":"{datatype}","shape":{shape},"parameters":{{"binary_data_size":{bytes}}}}}]}}"#
        );
        assert_eq!(read_answer(&[head.as_bytes(), &vec![0; bytes]].concat(), Some(head.len())), sound);
    }
}
