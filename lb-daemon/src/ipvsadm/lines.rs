//! The lines that `ipvsadm -R` reads and `ipvsadm -S` writes.

/// The arguments on a line: words between blanks, without the program's name.
/// There are no quotes and no comments; a line without words means nothing.
#[must_use]
pub fn words(line: &str) -> Vec<String> {
    line.split_ascii_whitespace()
        .filter(|word| *word != "ipvsadm")
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_between_blanks() {
        assert_eq!(
            words(" ipvsadm -A\t-t 192.0.2.10:80\r"),
            ["-A", "-t", "192.0.2.10:80"]
        );
        assert_eq!(words("# -C"), ["#", "-C"]);
        assert!(words(" \t\r").is_empty());
    }
}
