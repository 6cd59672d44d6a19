//! A stored tensor as a tensor with elements in their own type: samples and expected outputs that are kept as `TensorProto`.

use std::path::Path;

use half::{bf16, f16};
use prost::Message as _;

use super::TensorData;
use super::messages::element_type;
use crate::error::{Error, Result};
use crate::files;
use crate::tensor::{ElementType, Tensor, Values, element_count};

/// Reads a file that holds one `TensorProto`, such as `input_0.pb` of an ONNX test data set.
///
/// # Errors
/// `Input` where it is no such file or its values do not fill its shape, `Unsupported` for element types that no tensor holds.
pub fn read_tensor(path: &Path) -> Result<Tensor> {
    let bytes = files::read(path, files::MODEL).map_err(|error| Error::io("read", path, error))?;
    TensorData::decode(bytes.as_slice())
        .map_err(|error| Error::input("it does not decode as a tensor of ONNX").because(error))
        .and_then(|data| tensor(&data))
        .map_err(|error| error.context(format!("`{}`", path.display())))
}

/// A stored tensor, in whichever field its values are.
///
/// # Errors
/// `Input` where the values do not fill the shape, `Unsupported` for element types that no tensor holds.
pub fn tensor(data: &TensorData) -> Result<Tensor> {
    let name = &data.name;
    let damaged = || Error::input(format!("the values of tensor `{name}` do not fill its shape {:?}", data.dims));
    let shape: Vec<usize> =
        data.dims.iter().map(|&size| usize::try_from(size).ok()).collect::<Option<_>>().ok_or_else(damaged)?;
    let kind = element_type(data.data_type);
    if kind.bytes().is_none() {
        return Err(Error::unsupported(format!("tensor `{name}` holds {kind}, which no tensor here does")));
    }
    let values = match &data.raw_data {
        Some(raw) => Values::decode(kind, raw)?,
        None => typed(kind, data).ok_or_else(damaged)?,
    };
    if element_count(&shape) != Some(values.len()) {
        return Err(damaged());
    }
    Ok(Tensor { name: name.clone(), shape, values })
}

/// The values of a typed field; `None` where one does not fit its type.
fn typed(kind: ElementType, data: &TensorData) -> Option<Values> {
    fn fit<T: TryFrom<i32>>(values: &[i32]) -> Option<Vec<T>> {
        values.iter().map(|&value| T::try_from(value).ok()).collect()
    }
    let (small, wide) = (&data.int32_data, &data.uint64_data);
    // Floats of 16 bits are stored by their bits.
    let bits = || fit::<u16>(small);
    Some(match kind {
        ElementType::Float32 => Values::Float32(data.float_data.clone()),
        ElementType::Float64 => Values::Float64(data.double_data.clone()),
        ElementType::Float16 => Values::Float16(bits()?.into_iter().map(f16::from_bits).collect()),
        ElementType::Bfloat16 => Values::Bfloat16(bits()?.into_iter().map(bf16::from_bits).collect()),
        ElementType::Int8 => Values::Int8(fit(small)?),
        ElementType::Int16 => Values::Int16(fit(small)?),
        ElementType::Int32 => Values::Int32(small.clone()),
        ElementType::Uint8 => Values::Uint8(fit(small)?),
        ElementType::Uint16 => Values::Uint16(fit(small)?),
        ElementType::Bool => Values::Bool(small.iter().map(|&value| value != 0).collect()),
        ElementType::Int64 => Values::Int64(data.int64_data.clone()),
        ElementType::Uint32 => {
            Values::Uint32(wide.iter().map(|&value| u32::try_from(value).ok()).collect::<Option<_>>()?)
        }
        ElementType::Uint64 => Values::Uint64(wide.clone()),
        ElementType::String | ElementType::Other => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use prost::bytes::Bytes;
    use rstest::rstest;

    use super::*;

    fn data(data_type: i32, dims: &[i64]) -> TensorData {
        TensorData { data_type, dims: dims.to_vec(), name: "x".to_owned(), ..TensorData::default() }
    }

    #[rstest]
    #[case::int8(3, Values::Int8(vec![-1, 2]))]
    #[case::int16(5, Values::Int16(vec![-1, 2]))]
    #[case::int32(6, Values::Int32(vec![-1, 2]))]
    fn small_integers_stand_in_one_field(#[case] data_type: i32, #[case] expected: Values) {
        let stored = TensorData { int32_data: vec![-1, 2], ..data(data_type, &[2]) };
        let found = tensor(&stored).unwrap();
        assert_eq!((found.shape, found.values), (vec![2], expected));
    }

    #[test]
    fn every_field_is_read_in_its_own_type() {
        let of = |stored: TensorData| tensor(&stored).unwrap().values;
        assert_eq!(of(TensorData { float_data: vec![0.5], ..data(1, &[1, 1]) }), Values::Float32(vec![0.5]));
        assert_eq!(of(TensorData { double_data: vec![0.5], ..data(11, &[]) }), Values::Float64(vec![0.5]));
        assert_eq!(of(TensorData { int32_data: vec![0x3c00], ..data(10, &[1]) }), Values::Float16(vec![f16::ONE]));
        assert_eq!(of(TensorData { int32_data: vec![0x3f80], ..data(16, &[1]) }), Values::Bfloat16(vec![bf16::ONE]));
        assert_eq!(of(TensorData { int32_data: vec![0, 1], ..data(9, &[2]) }), Values::Bool(vec![false, true]));
        assert_eq!(of(TensorData { int32_data: vec![200], ..data(2, &[1]) }), Values::Uint8(vec![200]));
        assert_eq!(of(TensorData { int64_data: vec![1 << 60], ..data(7, &[1]) }), Values::Int64(vec![1 << 60]));
        assert_eq!(of(TensorData { uint64_data: vec![1 << 31], ..data(12, &[1]) }), Values::Uint32(vec![1 << 31]));
        assert_eq!(of(TensorData { uint64_data: vec![1 << 63], ..data(13, &[1]) }), Values::Uint64(vec![1 << 63]));
        let raw = Some(Bytes::from_static(&[1, 0, 2, 0]));
        assert_eq!(of(TensorData { raw_data: raw, ..data(4, &[2, 1]) }), Values::Uint16(vec![1, 2]));
        assert_eq!(of(TensorData { raw_data: Some(Bytes::new()), ..data(1, &[0, 3]) }), Values::Float32(vec![]));
    }

    #[rstest]
    #[case::too_few(TensorData { float_data: vec![0.5], ..data(1, &[2]) })]
    #[case::negative(TensorData { float_data: vec![0.5], ..data(1, &[-1]) })]
    #[case::in_another_field(TensorData { int32_data: vec![1], ..data(1, &[1]) })]
    #[case::does_not_fit(TensorData { int32_data: vec![300], ..data(2, &[1]) })]
    #[case::half_bytes(TensorData { raw_data: Some(Bytes::from_static(&[1, 0, 2])), ..data(4, &[2]) })]
    #[case::text(data(8, &[0]))]
    #[case::packed(data(21, &[0]))]
    #[case::beyond_memory(data(1, &[i64::MAX, i64::MAX]))]
    fn what_is_no_tensor_is_refused(#[case] stored: TensorData) {
        tensor(&stored).unwrap_err();
    }

    #[test]
    fn a_file_that_holds_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("input_0.pb");
        std::fs::write(&path, [0xff; 9]).unwrap();
        let error = read_tensor(&path).unwrap_err();
        assert!(error.message.contains("input_0.pb"), "{error}");
        std::fs::write(&path, TensorData { float_data: vec![1.0], ..data(1, &[1]) }.encode_to_vec()).unwrap();
        assert_eq!(read_tensor(&path).unwrap().values, Values::Float32(vec![1.0]));
    }
}
