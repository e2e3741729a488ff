//! The `Range` header (RFC 9110, section 14): which bytes of a representation a client wants.

use std::ops::Range;

/// More ranges than any honest client sends (a delta downloader asks for a few): beyond it the header is ignored, as
/// RFC 9110 14.2 allows, so that a small request cannot cost a large answer.
const MOST_RANGES: usize = 16;

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// No usable header: the whole.
    Whole,
    /// These parts, in the order asked for, each inside the representation and not empty.
    Parts(Vec<Range<u64>>),
    /// None of the parts lies inside: 416.
    Unsatisfiable,
}

/// Reads a `Range` header's value for a representation of `size` bytes.
pub(super) fn parse(value: &str, size: u64) -> Wanted {
    let Some(list) = value.trim().strip_prefix("bytes=") else { return Wanted::Whole };
    let mut parts = Vec::new();
    let mut count = 0;
    for spec in list.split(',').map(str::trim).filter(|spec| !spec.is_empty()) {
        count += 1;
        match part(spec, size) {
            Some(Some(range)) => parts.push(range),
            Some(None) => {}
            None => return Wanted::Whole,
        }
    }
    let asked: u64 = parts.iter().map(|range| range.end - range.start).fold(0, u64::saturating_add);
    if count == 0 || count > MOST_RANGES || (parts.len() > 1 && asked > size) {
        // Overlapping parts that add up to more than the whole are a way to ask for work, not for bytes.
        Wanted::Whole
    } else if parts.is_empty() {
        Wanted::Unsatisfiable
    } else {
        Wanted::Parts(parts)
    }
}

/// One range: outer `None` when it is not well-formed (then the whole header is ignored), inner `None` when it lies
/// outside the representation.
fn part(spec: &str, size: u64) -> Option<Option<Range<u64>>> {
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        let count = number(last)?.min(size);
        return Some((count > 0).then(|| size - count..size));
    }
    let first = number(first)?;
    let end = if last.is_empty() { size } else { number(last)?.saturating_add(1) };
    if end <= first && !last.is_empty() {
        return None;
    }
    Some((first < size).then(|| first..end.min(size)))
}

/// Digits only: `parse` alone would take a sign. A number too large to hold is as good as the largest.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    #[allow(clippy::single_range_in_vec_init, reason = "a list of one range is what is meant")]
    fn ranges_as_the_rfc_shows_them() {
        for (header, wanted) in [
            ("bytes=0-499", Wanted::Parts(vec![0..500])),
            ("bytes=500-999", Wanted::Parts(vec![500..1000])),
            ("bytes=-500", Wanted::Parts(vec![9500..10000])),
            ("bytes=9500-", Wanted::Parts(vec![9500..10000])),
            ("bytes=0-0,-1", Wanted::Parts(vec![0..1, 9999..10000])),
            ("bytes= 0-999, 4500-5499, -1000", Wanted::Parts(vec![0..1000, 4500..5500, 9000..10000])),
            ("bytes=0-99999999999999999999999", Wanted::Parts(vec![0..10000])),
            ("bytes=-20000", Wanted::Parts(vec![0..10000])),
            ("bytes=10000-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=20000-20001,10000-10001", Wanted::Unsatisfiable),
            ("bytes=0-1,20000-", Wanted::Parts(vec![0..2])),
            ("bytes=", Wanted::Whole),
            ("bytes=5-4", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=1", Wanted::Whole),
            ("lines=0-1", Wanted::Whole),
            ("bytes=0-,0-", Wanted::Whole),
        ] {
            assert_eq!(parse(header, 10000), wanted, "{header}");
        }
    }

    #[test]
    fn too_many_ranges_are_ignored() {
        let many = (0..=MOST_RANGES).map(|n| format!("{n}-{n}")).collect::<Vec<_>>().join(",");
        assert_eq!(parse(&format!("bytes={many}"), 10000), Wanted::Whole);
    }

    #[test]
    fn nothing_of_an_empty_file_can_be_satisfied() {
        assert_eq!(parse("bytes=0-", 0), Wanted::Unsatisfiable);
    }

    proptest! {
        #[test]
        fn parts_lie_inside(header in "bytes=[0-9,-]{0,40}", size in 0u64..2000) {
            if let Wanted::Parts(parts) = parse(&header, size) {
                prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= size));
            }
        }
    }
}
