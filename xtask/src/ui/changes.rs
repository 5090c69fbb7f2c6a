//! What changed in a lock, as columns.

use builder::base::name::GroupName;
use builder::lock::diff::LockChange;

use super::table::Table;

/// Draws a row a change; nothing when nothing changed.
pub(crate) fn draw(changes: &[LockChange]) -> String {
    if changes.is_empty() {
        return String::new();
    }
    let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let mut table = Table::new(["", "was", "is", "for"]);
    for change in changes {
        let names: Vec<&str> = change.wanted_by.iter().map(GroupName::as_str).collect();
        table.row([change.name.clone(), dash(&change.before), dash(&change.after), names.join(" ")]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_a_row() {
        let wanted_by = ["master", "node"].map(|name| GroupName::new(name).unwrap()).into();
        let change =
            LockChange { name: "conmon".to_owned(), before: None, after: Some("9:2".to_owned()), wanted_by };
        assert_eq!(draw(&[change]), "        was  is   for\nconmon  -    9:2  master node\n");
        assert_eq!(draw(&[]), "");
    }
}
