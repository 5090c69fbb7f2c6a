//! Canonical JSON: sorted keys, no white space, one newline at the end of a document file.
//!
//! Identities and outputs are made of this form, never of a library's own order: oci-spec keeps
//! annotations in hash maps, and serde_json's order can be switched by a dependency's feature.

use serde::Serialize;
use serde_json::Value;

use super::fault::{Fault, Result};

/// Returns the canonical bytes of `value`, without a final newline.
pub fn canonical(value: &impl Serialize) -> Result<Vec<u8>> {
    let value = serde_json::to_value(value).map_err(|e| Fault::bug("a value has no JSON form").cause(e))?;
    let mut out = Vec::new();
    write_canonical(&value, &mut out);
    Ok(out)
}

/// Returns indented JSON with sorted keys and a final newline: for documents that people open.
pub fn pretty(value: &impl Serialize) -> Result<Vec<u8>> {
    let value = serde_json::to_value(value).map_err(|e| Fault::bug("a value has no JSON form").cause(e))?;
    let mut out = Vec::new();
    write_pretty(&value, 0, &mut out);
    out.push(b'\n');
    Ok(out)
}

fn sorted(map: &serde_json::Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
}

fn write_canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_canonical(item, out);
            }
            out.push(b']');
        }
        Value::Object(map) => {
            out.push(b'{');
            for (index, (key, item)) in sorted(map).into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_scalar(&Value::String(key.clone()), out);
                out.push(b':');
                write_canonical(item, out);
            }
            out.push(b'}');
        }
        scalar => write_scalar(scalar, out),
    }
}

fn write_pretty(value: &Value, depth: usize, out: &mut Vec<u8>) {
    let line = |depth: usize, out: &mut Vec<u8>| {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', 2 * depth));
    };
    match value {
        Value::Array(items) if !items.is_empty() => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                line(depth + 1, out);
                write_pretty(item, depth + 1, out);
            }
            line(depth, out);
            out.push(b']');
        }
        Value::Object(map) if !map.is_empty() => {
            out.push(b'{');
            for (index, (key, item)) in sorted(map).into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                line(depth + 1, out);
                write_scalar(&Value::String(key.clone()), out);
                out.extend(b": ");
                write_pretty(item, depth + 1, out);
            }
            line(depth, out);
            out.push(b'}');
        }
        other => write_canonical(other, out),
    }
}

fn write_scalar(value: &Value, out: &mut Vec<u8>) {
    out.extend(value.to_string().into_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_at_every_depth() {
        let value: Value = serde_json::from_str(r#"{"b":[{"z":1,"a":null}],"a":"\u00e9\n","c":{}}"#).unwrap();
        let text = String::from_utf8(canonical(&value).unwrap()).unwrap();
        assert_eq!(text, "{\"a\":\"é\\n\",\"b\":[{\"a\":null,\"z\":1}],\"c\":{}}");
        let text = String::from_utf8(pretty(&value).unwrap()).unwrap();
        let expect = "{\n  \"a\": \"é\\n\",\n  \"b\": [\n    {\n      \"a\": null,\n      \"z\": 1\n    }\n  ],\n  \"c\": {}\n}\n";
        assert_eq!(text, expect);
    }
}
