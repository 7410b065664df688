//! Sizes in bytes as text, exactly.

/// The size in the largest binary unit that gives a whole number: `64MiB`, `1000B`. Reading it gives the same size.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [(u32, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    for (shift, unit) in UNITS {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact() {
        let check = |bytes: u64, expected: &str| {
            assert_eq!(size(bytes), expected);
            assert_eq!(expected.parse::<bytesize::ByteSize>(), Ok(bytesize::ByteSize(bytes)));
        };
        check(0, "0B");
        check(1023, "1023B");
        check(1024, "1KiB");
        check((16 << 20) + 1024, "16385KiB");
        check(16 << 20, "16MiB");
        check(u64::MAX, "18446744073709551615B");
        check(1 << 60, "1048576TiB");
    }
}
