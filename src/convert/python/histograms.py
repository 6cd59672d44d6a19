"""The quantiser's percentile calibration in a fraction of its time, with the same ranges, but for values that it loses.

It sorts every magnitude into bins, and then asks only in which bin a far percentile lies: of a hundred thousand values, one decides.
Here the values below a bin that is far from deciding are counted and no more. Bins, edges and the counts behind that bin are the
quantiser's own; where too few values were kept to tell the percentile, all of them are sorted after all.

Where a later batch has larger values, the quantiser adds bins of one width, by single precision, and one time in ten the last of
them ends below the largest value, which is then counted nowhere: of small tensors that value is the range. Here a last bin holds it.
"""

import contextlib

# Bins that the quantiser starts with.
BINS = 2048

# Share of the first batch's values that are sorted into bins: two hundred times what lies above the percentile.
KEPT = 0.002

# Values of the first batch that the bin is found from.
LOOKED_AT = 1 << 16

# Values that are worked on at a time, so that they stay in the cache.
CHUNK = 1 << 16


class TooFew(Exception):
    """The percentile lies among values that were only counted."""


def magnitudes_from(values, cut):
    """The magnitudes of at least `cut`, in chunks that fit the cache."""
    import numpy

    kept = []
    buffer = numpy.empty(min(CHUNK, values.size), values.dtype)
    for start in range(0, values.size, CHUNK):
        chunk = values[start : start + CHUNK]
        found = numpy.absolute(chunk, out=buffer[: chunk.size])
        kept.append(found[found >= cut])
    return numpy.concatenate(kept)


def collect(collector, tensors, everything=False):
    """Does what `HistogramCollector.collect_absolute_value` does; further values of `histogram_dict` are as there, but that all
    values in front of the bin `collector.first_bins[name]` stand in the first bin, which is the first one if `everything` is sorted."""
    import numpy

    first_bins = collector.__dict__.setdefault("first_bins", {})
    for name, arrays in tensors.items():
        values = (arrays[0] if len(arrays) == 1 else numpy.concatenate(arrays)).reshape(-1)
        if values.size == 0:
            raise TooFew(name)
        least, most = values.min(), values.max()
        largest = max(abs(least), abs(most))
        # The quantiser has words of its own for what is not finite.
        if not numpy.isfinite(largest):
            raise TooFew(name)
        known = collector.histogram_dict.get(name)
        if known is None:
            smallest = least if least > 0 else -most if most < 0 else numpy.absolute(values).min()
            limits = (smallest, largest)
            edges = numpy.histogram_bin_edges(values[:1], bins=BINS, range=limits).astype(values.dtype)
            step = max(1, values.size // LOOKED_AT)
            place = numpy.quantile(numpy.absolute(values[::step]), 1 - KEPT)
            first = max(0, int(numpy.searchsorted(edges, place, side="right")) - 1)
            # Few values are sorted sooner than picked out.
            first = first if first < BINS and values.size > CHUNK and not everything else 0
            kept = magnitudes_from(values, edges[first])
            counts = numpy.histogram(kept, bins=BINS, range=limits)[0]
            first_bins[name] = first
        else:
            counts_before, edges, least_before, most_before = known
            least, most = min(least_before, least), max(most_before, most)
            first = first_bins[name]
            if largest > edges[-1]:
                width = edges[1] - edges[0]
                edges = numpy.hstack((edges, numpy.arange(edges[-1] + width, largest + width, width))).astype(values.dtype)
                if largest > edges[-1]:
                    edges = numpy.append(edges, largest)
            kept = magnitudes_from(values, edges[first])
            counts = numpy.zeros(len(edges) - 1, numpy.int64)
            counts[first:] = numpy.histogram(kept, bins=edges[first:])[0]
            edges = edges.astype(values.dtype)
            counts[: len(counts_before)] += counts_before
        if first:
            counts[0] += values.size - kept.size
        collector.histogram_dict[name] = (counts, edges, least, most)


def check(collector):
    """Raises where a percentile lies in front of the bins that were kept."""
    share = collector.percentile / 100
    for name, first in collector.first_bins.items():
        counts = collector.histogram_dict[name][0]
        if first and not counts[:first].sum() / counts.sum() < share:
            raise TooFew(name)


@contextlib.contextmanager
def counting(everything=False):
    """While it is entered, percentile calibration sorts what may decide (or `everything`), and raises [`TooFew`] where that was too
    little, or where the values are none that have a range."""
    from onnxruntime.quantization.calibrate import HistogramCollector

    own = HistogramCollector.collect_absolute_value, HistogramCollector.compute_percentile

    def compute(collector):
        check(collector)
        return own[1](collector)

    def sort(collector, tensors):
        return collect(collector, tensors, everything)

    HistogramCollector.collect_absolute_value, HistogramCollector.compute_percentile = sort, compute
    try:
        yield
    finally:
        HistogramCollector.collect_absolute_value, HistogramCollector.compute_percentile = own


def quantize(function):
    """Calls `function`, which quantises with percentile calibration, counting less if that is enough."""
    for everything in (False, True):
        try:
            with counting(everything):
                return function()
        except TooFew:
            continue
    return function()
