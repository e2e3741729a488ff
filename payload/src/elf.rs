//! The architecture of an executable, from its ELF header (System V ABI, "ELF Header").

/// The architecture in rpm's words; None when these bytes begin no Linux executable that we know.
#[must_use]
pub fn arch(head: &[u8]) -> Option<&'static str> {
    let [0x7f, b'E', b'L', b'F', class, order, ..] = *head else { return None };
    let machine = [*head.get(18)?, *head.get(19)?];
    let machine = if order == 2 { u16::from_be_bytes(machine) } else { u16::from_le_bytes(machine) };
    Some(match (machine, class, order) {
        (62, 2, 1) => "x86_64",
        (183, 2, 1) => "aarch64",
        (21, 2, 1) => "ppc64le",
        (22, 2, 2) => "s390x",
        (243, 2, 1) => "riscv64",
        (3, 1, 1) => "i686",
        (40, 1, 1) => "armv7hl",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_knows_its_own_architecture() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(arch(&own), Some(std::env::consts::ARCH));
    }

    #[test]
    fn a_script_has_none() {
        assert_eq!(arch(b"#!/bin/sh\necho this is no ELF file\n"), None);
        assert_eq!(arch(b"\x7fELF"), None);
    }
}
