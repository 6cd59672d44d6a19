//! The operators of TFLite: their names, and which of them are heavy.

/// Names by code, `BuiltinOperator` of TFLite's schema (ai-edge-litert 2.3.0), which LiteRT's operator codes are.
const NAMES: &str = "
    ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP FLOOR
    FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION
    LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH
    CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER
    BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE
    BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM
    ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE
    TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK
    LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD
    RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N
    GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE
    NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL
    PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL COMPLEX_ABS HASHTABLE
    HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE
    BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1
    UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2 UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR
    RIGHT_SHIFT";

/// The name of operator `code`; the operators of StableHLO, after 161, go by their number.
pub(super) fn name(code: i32) -> String {
    let known = usize::try_from(code).ok().and_then(|code| NAMES.split_whitespace().nth(code));
    known.map_or_else(|| format!("operator {code}"), str::to_owned)
}

/// Whether operator `code` is a convolution or matrix product (StableHLO: convolution 171, dot 197).
pub(super) fn is_compute(code: i32) -> bool {
    matches!(
        name(code).as_str(),
        "CONV_2D"
            | "DEPTHWISE_CONV_2D"
            | "TRANSPOSE_CONV"
            | "CONV_3D"
            | "CONV_3D_TRANSPOSE"
            | "FULLY_CONNECTED"
            | "BATCH_MATMUL"
    ) || [171, 197].contains(&code)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    // Codes from `litert/c/litert_op_code.h`, spread over the list so that a slip anywhere shows.
    #[rstest]
    #[case(0, "ADD", false)]
    #[case(3, "CONV_2D", true)]
    #[case(9, "FULLY_CONNECTED", true)]
    #[case(25, "SOFTMAX", false)]
    #[case(40, "MEAN", false)]
    #[case(67, "TRANSPOSE_CONV", true)]
    #[case(83, "PACK", false)]
    #[case(114, "QUANTIZE", false)]
    #[case(126, "BATCH_MATMUL", true)]
    #[case(150, "GELU", false)]
    #[case(161, "RIGHT_SHIFT", false)]
    #[case(171, "operator 171", true)]
    #[case(-1, "operator -1", false)]
    fn codes_have_names(#[case] code: i32, #[case] expected: &str, #[case] compute: bool) {
        assert_eq!(name(code), expected);
        assert_eq!(is_compute(code), compute);
    }
}
