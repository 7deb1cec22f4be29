//! `vrrp_instance`: there is no VRRP in lbd. The interfaces are of use, since the
//! services' packets come in there.

use super::{Context, tree::Node};

/// Blocks of addresses, any of which may name its interface: `… dev eth1`.
const ADDRESSES: [&str; 2] = ["virtual_ipaddress", "virtual_ipaddress_excluded"];

/// One warning for all of it. Values are not printed: one is a password.
pub(super) fn read(node: &Node, context: &mut Context<'_>) {
    let mut left_out: Vec<&str> = Vec::new();
    let mut addresses = Vec::new();
    for line in node.block() {
        match (line.keyword(), line.values()) {
            ("interface", [name, ..]) => context.document.add_interface(name),
            (keyword, _) if ADDRESSES.contains(&keyword) => {
                for address in line.block() {
                    addresses.push(address.keyword());
                    let dev = address.words.iter().position(|word| word == "dev");
                    if let Some(name) = dev.and_then(|dev| address.words.get(dev + 1)) {
                        context.document.add_interface(name);
                    }
                }
            }
            (keyword, _) if !left_out.contains(&keyword) => left_out.push(keyword),
            _ => {}
        }
    }
    let mut text = "lbd has no VRRP".to_owned();
    if !left_out.is_empty() {
        text += &format!("; left out: {}", left_out.join(", "));
    }
    if !addresses.is_empty() {
        text += &format!(
            "; who holds {} is for something else to say",
            addresses.join(", ")
        );
    }
    let name = node.values().first().map_or("", String::as_str);
    let text = format!("vrrp_instance {name}: {text}");
    context.warnings.add(&node.place, text);
}
