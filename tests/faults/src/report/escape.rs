//! What keeps texts of a history from being taken for markup: names and errors come from anywhere.

use std::fmt::Write;

/// Text for HTML, between tags and in quoted attributes. Characters that would steer the page's text, unseen, are
/// written out.
pub(super) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => visible(c, &mut out),
        }
    }
    out
}

/// JSON for a `script` element: no text in it can end the element.
pub(super) fn json(value: &serde_json::Value) -> String {
    let mut out = String::new();
    for c in value.to_string().chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => _ = write!(out, "\\u{:04x}", u32::from(c)),
            _ => out.push(c),
        }
    }
    out
}

/// A text as the timeline shows it: [`html`] without the escapes of HTML, for what goes through [`json`].
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| visible(c, &mut out));
    out
}

fn visible(c: char, out: &mut String) {
    match c {
        '\n' | '\t' => out.push(c),
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' => _ = write!(out, "\\u{{{:x}}}", u32::from(c)),
        // Those that turn the direction of what follows.
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
        _ => out.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_leaves_the_place_it_is_written_in() {
        let hostile = "</script><script>alert('1')</script>\"&\u{202e}\u{0}\u{2028}";
        assert_eq!(
            html(hostile),
            "&lt;/script&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot;&amp;\\u{202e}\\u{0}\u{2028}"
        );
        let json = json(&serde_json::json!({ "name": hostile }));
        assert!(!json.contains(['<', '>', '&', '\u{2028}']), "{json}");
        let back: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(back["name"], hostile);
        assert_eq!(plain("a\u{202e}<b>"), "a\\u{202e}<b>");
    }
}
