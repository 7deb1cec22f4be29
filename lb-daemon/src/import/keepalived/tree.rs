//! Blocks and keywords of a `keepalived.conf`.

use super::{
    super::source::{ImportError, Place},
    lines::Line,
};

/// Blocks in blocks; keepalived has four.
const MAX_DEPTH: usize = 16;

/// A keyword with its values, and the block behind it if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) place: Place,
    /// At least the keyword.
    pub(super) words: Vec<String>,
    pub(super) block: Option<Vec<Self>>,
}

impl Node {
    pub(super) fn keyword(&self) -> &str {
        &self.words[0]
    }

    /// What stands behind the keyword.
    pub(super) fn values(&self) -> &[String] {
        &self.words[1..]
    }

    /// The keyword's first value, which it must have.
    pub(super) fn value(&self) -> Result<&str, ImportError> {
        let value = self.words.get(1).map(String::as_str);
        value.ok_or_else(|| self.error("has no value"))
    }

    pub(super) fn block(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }

    /// An error about this keyword.
    pub(super) fn error(&self, problem: &str) -> ImportError {
        self.place.error(format!("{}: {problem}", self.keyword()))
    }
}

pub(super) fn parse(lines: &[Line]) -> Result<Vec<Node>, ImportError> {
    let mut tree = Tree {
        open: Vec::new(),
        nodes: Vec::new(),
    };
    for line in lines {
        tree.line(line)?;
    }
    match tree.open.pop() {
        Some((node, _)) => Err(node.error("its { has no }")),
        None => Ok(tree.nodes),
    }
}

struct Tree {
    /// Blocks that have not ended, each with what stood before it.
    open: Vec<(Node, Vec<Node>)>,
    /// What the innermost of them has so far.
    nodes: Vec<Node>,
}

impl Tree {
    fn line(&mut self, line: &Line) -> Result<(), ImportError> {
        let place = &line.place;
        let mut words = Vec::new();
        for token in tokens(&line.text).map_err(|problem| place.error(problem))? {
            match token {
                Token::Word(word) => words.push(word),
                Token::Open => self.open(std::mem::take(&mut words), place)?,
                Token::Close => {
                    self.statement(std::mem::take(&mut words), place);
                    let Some((mut node, before)) = self.open.pop() else {
                        return Err(place.error("} without a {"));
                    };
                    node.block = Some(std::mem::replace(&mut self.nodes, before));
                    self.nodes.push(node);
                }
            }
        }
        self.statement(words, place);
        Ok(())
    }

    fn statement(&mut self, words: Vec<String>, place: &Place) {
        if !words.is_empty() {
            self.nodes.push(Node {
                place: place.clone(),
                words,
                block: None,
            });
        }
    }

    fn open(&mut self, words: Vec<String>, place: &Place) -> Result<(), ImportError> {
        if self.open.len() == MAX_DEPTH {
            return Err(place.error(format!("blocks are more than {MAX_DEPTH} deep")));
        }
        self.statement(words, place);
        // The keyword may be on a line before.
        match self.nodes.pop() {
            Some(node) if node.block.is_none() => {
                self.open.push((node, std::mem::take(&mut self.nodes)));
                Ok(())
            }
            _ => Err(place.error("{ without a keyword")),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Open,
    Close,
}

/// Words, in which quotes keep blanks, and braces. A brace within a word belongs
/// to it (`a{2}`), one at its end is a block's (`1935{`).
fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut word: Option<String> = None;
    // Braces that the word has open.
    let mut braces = 0_usize;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' | '\'' => quoted(c, &mut characters, word.get_or_insert_default())?,
            c if c.is_whitespace() => {
                tokens.extend(word.take().map(Token::Word));
                braces = 0;
            }
            '{' => {
                let is_last = characters.peek().is_none_or(|next| next.is_whitespace());
                match &mut word {
                    Some(word) if !is_last => {
                        word.push(c);
                        braces += 1;
                    }
                    _ => {
                        tokens.extend(word.take().map(Token::Word));
                        tokens.push(Token::Open);
                    }
                }
            }
            '}' if braces > 0 => {
                braces -= 1;
                word.get_or_insert_default().push(c);
            }
            '}' => {
                tokens.extend(word.take().map(Token::Word));
                tokens.push(Token::Close);
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    tokens.extend(word.map(Token::Word));
    Ok(tokens)
}

/// The rest of a quoted string; escapes are those of keepalived.conf(5).
fn quoted(
    quote: char,
    characters: &mut std::iter::Peekable<std::str::Chars<'_>>,
    word: &mut String,
) -> Result<(), String> {
    let unended = || "a quote that does not end on its line".to_owned();
    loop {
        match characters.next().ok_or_else(unended)? {
            c if c == quote => return Ok(()),
            '\\' => {
                let c = characters.next().ok_or_else(unended)?;
                let mut digits = |radix: u32, most: usize, first: Option<u32>| {
                    let mut code = first;
                    let mut left = most - usize::from(first.is_some());
                    while left > 0
                        && let Some(digit) = characters.peek().and_then(|c| c.to_digit(radix))
                    {
                        characters.next();
                        code = Some(code.unwrap_or(0) * radix + digit);
                        left -= 1;
                    }
                    code
                };
                let code = match c {
                    'x' => digits(16, 2, None),
                    '0'..='7' => digits(8, 3, c.to_digit(8)),
                    'a' => Some(7),
                    'b' => Some(8),
                    'E' => Some(27),
                    'f' => Some(12),
                    'n' => Some(10),
                    'r' => Some(13),
                    't' => Some(9),
                    'v' => Some(11),
                    _ => None,
                };
                word.push(code.and_then(char::from_u32).unwrap_or(c));
            }
            c => word.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Node>, String> {
        let lines = text.lines().enumerate().map(|(i, text)| Line {
            place: Place::new("k", i + 1),
            text: text.to_owned(),
        });
        parse(&lines.collect::<Vec<_>>()).map_err(|error| error.to_string())
    }

    /// `a b [c d]`, one level of blocks in brackets.
    fn shown(nodes: &[Node]) -> String {
        let nodes = nodes.iter().map(|node| {
            let block = node.block.as_ref();
            let block = block.map(|block| format!(" [{}]", shown(block)));
            format!("{}{}", node.words.join(" "), block.unwrap_or_default())
        });
        nodes.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn braces_stand_where_they_like() {
        for text in [
            "a 1935 {\nb c\n}\nd",
            "a 1935{\nb c\n}\nd",
            "a 1935\n{\nb c }\nd",
            "a 1935 { b c\n} d",
        ] {
            assert_eq!(shown(&parsed(text).unwrap()), "a 1935 [b c]; d", "{text}");
        }
        assert_eq!(
            shown(&parsed("a {\n}\nb { c { d } }").unwrap()),
            "a []; b [c [d]]"
        );
    }

    #[test]
    fn words_may_have_braces_quotes_and_escapes() {
        for (text, expected) in [
            ("regex a{2}b", &["regex", "a{2}b"][..]),
            ("path '/a b' \"c'd\"e", &["path", "/a b", "c'de"]),
            (
                r#"x "\x41\102\n\q\\\"" '\x4g'"#,
                &["x", "AB\nq\\\"", "\u{4}g"],
            ),
            ("x '{' \"}\"", &["x", "{", "}"]),
            ("x ''", &["x", ""]),
        ] {
            let nodes = parsed(text).unwrap();
            assert_eq!(nodes[0].words, expected, "{text}");
            assert_eq!(nodes.len(), 1);
        }
    }

    #[test]
    fn what_does_not_match_is_told_with_its_line() {
        for (text, expected) in [
            ("\na {\nb {\n}\n", "k:2: a: its { has no }"),
            ("a\n}", "k:2: } without a {"),
            ("{", "k:1: { without a keyword"),
            ("a {\n}\n{\n}", "k:3: { without a keyword"),
            ("\na 'b", "k:2: a quote that does not end on its line"),
            ("a \"b\\", "k:1: a quote that does not end on its line"),
            (
                &"a {\n".repeat(100_000),
                "k:17: blocks are more than 16 deep",
            ),
        ] {
            assert_eq!(parsed(text).unwrap_err(), expected);
        }
    }
}
