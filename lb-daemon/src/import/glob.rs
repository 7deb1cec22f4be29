//! Patterns of file names, as glob(7) has them, and braces as csh has them.

/// The patterns that `pattern` stands for: `a{b,c}` for `ab` and `ac`. At most
/// `MAX_ALTERNATIVES`.
pub fn alternatives(pattern: &str) -> Vec<String> {
    const MAX_ALTERNATIVES: usize = 256;
    let mut done = Vec::new();
    let mut open = vec![pattern.to_owned()];
    while let Some(pattern) = open.pop() {
        if done.len() + open.len() > MAX_ALTERNATIVES {
            break;
        }
        match braces(&pattern) {
            None => done.push(pattern),
            // The first is to be the next.
            Some((before, choices, after)) => open.extend(
                choices
                    .iter()
                    .rev()
                    .map(|choice| format!("{before}{choice}{after}")),
            ),
        }
    }
    done
}

/// The first pair of braces with a comma in it.
fn braces(pattern: &str) -> Option<(&str, Vec<&str>, &str)> {
    let start = pattern.find('{')?;
    let mut depth = 0;
    let mut from = start + 1;
    let mut choices = Vec::new();
    for (at, c) in pattern[start..]
        .char_indices()
        .map(|(at, c)| (start + at, c))
    {
        match c {
            '{' => depth += 1,
            ',' if depth == 1 => {
                choices.push(&pattern[from..at]);
                from = at + 1;
            }
            '}' if depth == 1 => {
                choices.push(&pattern[from..at]);
                return Some((&pattern[..start], choices, &pattern[at + 1..]));
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Whether `text` has anything that is more than itself.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether the name of one file matches. A leading dot must be written out.
pub fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where the last star was, and what it has swallowed up to.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if let Some('*') = pattern.get(p) {
            star = Some((p, n));
            p += 1;
        } else if let Some(next) = one(&pattern, p, name[n]) {
            p = next;
            n += 1;
        } else if let Some((at, swallowed)) = star {
            star = Some((at, swallowed + 1));
            p = at + 1;
            n = swallowed + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Where the pattern goes on, if what stands at `at` matches `c`.
fn one(pattern: &[char], at: usize, c: char) -> Option<usize> {
    match *pattern.get(at)? {
        '?' => Some(at + 1),
        '\\' => (*pattern.get(at + 1)? == c).then_some(at + 2),
        '[' => {
            let is_negated = matches!(pattern.get(at + 1), Some('!' | '^'));
            let start = at + 1 + usize::from(is_negated);
            // A bracket that stands first is one of the characters.
            let end = (start + 1..pattern.len()).find(|end| pattern[*end] == ']');
            let Some(end) = end else {
                return (c == '[').then_some(at + 1);
            };
            let set = &pattern[start..end];
            let mut i = 0;
            let mut is_in = false;
            while i < set.len() {
                if i + 2 < set.len() && set[i + 1] == '-' {
                    is_in |= (set[i]..=set[i + 2]).contains(&c);
                    i += 3;
                } else {
                    is_in |= set[i] == c;
                    i += 1;
                }
            }
            (is_in != is_negated).then_some(end + 1)
        }
        other => (other == c).then_some(at + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*.conf", "a.conf", true),
            ("*.conf", ".conf", false),
            (".*", ".conf", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("[a-c]1", "b1", true),
            ("[!a-c]1", "b1", false),
            ("[]]", "]", true),
            ("[", "[", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("", "", true),
            ("**", "", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn braces_are_choices() {
        assert_eq!(alternatives("a{b,c{d,e}}f"), ["abf", "acdf", "acef"]);
        assert_eq!(alternatives("a{b"), ["a{b"]);
        assert_eq!(alternatives("{,x}"), ["", "x"]);
        assert!(alternatives(&"{a,b}".repeat(40)).len() <= 257);
    }
}
