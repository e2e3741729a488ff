//! The images that a manifest of Kubernetes names.

use saphyr::Yaml;

use crate::yaml;

/// Every `image:` of a manifest, as it is written. One that is no YAML may be a template.
///
/// # Errors
/// Why it is no YAML.
pub fn images_named(manifest: &str) -> Result<Vec<String>, String> {
    let documents = yaml::documents(manifest).map_err(|e| format!("it is no YAML: {e}"))?;
    let mut found = Vec::new();
    documents.iter().for_each(|document| collect(document, &mut found));
    Ok(found)
}

fn collect(node: &Yaml<'_>, found: &mut Vec<String>) {
    if let Some(list) = node.as_sequence() {
        list.iter().for_each(|value| collect(value, found));
    }
    for (key, value) in node.as_mapping().into_iter().flatten() {
        match (key.as_str(), value.as_str()) {
            (Some("image"), Some(image)) => found.push(image.to_owned()),
            _ => collect(value, found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_of_a_manifest_is_found() {
        let text = "kind: A\nspec:\n  initContainers:\n  - {image: a/b:1, name: x}\n  containers:\n  - name: y\n    \
                    image: \"c:2\"\n---\nkind: B\nimage: [not, one]\n";
        assert_eq!(images_named(text).unwrap(), ["a/b:1", "c:2"]);
        assert!(images_named("{{ template }}: [").unwrap_err().contains("no YAML"));
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_crash() {
        for deep in ["- ".repeat(100_000), "[".repeat(100_000), "? ".repeat(100_000)] {
            assert!(images_named(&deep).unwrap_err().contains("no YAML"));
        }
    }
}
