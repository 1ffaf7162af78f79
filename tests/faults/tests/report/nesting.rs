//! Whether HTML is nested as it must be.

/// Elements without an end.
const VOID: [&str; 3] = ["meta", "br", "!doctype"];

/// All elements, in order, or what is wrong. What `script` and `style` hold is not looked at.
pub fn elements(html: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let mut open: Vec<String> = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let end = rest.find('>').ok_or("a tag without an end")?;
        let (tag, behind) = (&rest[..end], &rest[end + 1..]);
        if tag.contains('<') || tag.matches('"').count() % 2 != 0 {
            return Err(format!("<{tag}> in {open:?}"));
        }
        rest = behind;
        if let Some(name) = tag.strip_prefix('/') {
            let last = open.pop();
            if last.as_deref() != Some(name) {
                return Err(format!("</{name}> ends {last:?} in {open:?}"));
            }
            continue;
        }
        let name = tag.split_whitespace().next().unwrap_or_default().to_lowercase();
        found.push(name.clone());
        if name == "script" || name == "style" {
            let close = format!("</{name}>");
            rest = rest.split_once(&close).ok_or(format!("no {close}"))?.1;
        } else if !VOID.contains(&name.as_str()) {
            open.push(name);
        }
    }
    if open.is_empty() { Ok(found) } else { Err(format!("never ended: {open:?}")) }
}
