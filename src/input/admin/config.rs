//! The taps of an Envoy, from its `/config_dump`.

use std::io::Read as _;

use serde_json::Value;

use super::{ANSWER_TIMEOUT, Error, Url, agent, failed, message, plain, refusal};

/// The size of the largest `/config_dump` that is searched for taps, in bytes.
const MAX_CONFIG_DUMP: u64 = 64 << 20;

/// The `config_id` of Envoy's only tap.
///
/// # Errors
/// When there is none, or several.
pub(super) fn only_config_id(url: &Url) -> Result<String, Error> {
    let mut ids = config_ids(url)?;
    match (ids.pop(), ids.is_empty()) {
        (Some(id), true) => Ok(id),
        (Some(last), false) => {
            ids.push(last);
            Err(Error::new(format!("several taps: {}", ids.join(", ")))
                .with_hint("--config-id selects one"))
        }
        (None, _) => Err(Error::new("this Envoy has no tap with an admin_config")
            .with_hint("docs/envoy/admin.yaml is an example")),
    }
}

/// The `config_id`s of the taps that Envoy's `/config_dump` lists, sorted.
///
/// # Errors
/// When `/config_dump` cannot be read.
pub fn config_ids(url: &Url) -> Result<Vec<String>, Error> {
    let response = agent()
        .get(format!("{url}/config_dump"))
        .config()
        .timeout_global(Some(ANSWER_TIMEOUT))
        .build()
        .call()
        .map_err(|error| failed(url, &error))?;
    let status = response.status().as_u16();
    let mut body = response.into_body().into_reader();
    if status != 200 {
        return Err(refusal(url, status, &message(&mut body)));
    }
    let unread = |why: String| {
        Error::new(format!("cannot read {url}/config_dump: {why}"))
            .with_hint("--config-id names the tap")
    };
    let mut bytes = Vec::new();
    body.take(MAX_CONFIG_DUMP + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unread(plain(&error)))?;
    if bytes.len() as u64 > MAX_CONFIG_DUMP {
        return Err(unread(format!("larger than {} MiB", MAX_CONFIG_DUMP >> 20)));
    }
    let dump: Value = serde_json::from_slice(&bytes).map_err(|error| unread(error.to_string()))?;
    let mut ids = Vec::new();
    collect(&dump, &mut ids);
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// Adds the `config_id` of each `admin_config` in a value to `ids`. The recursion is bounded: serde_json limits the
/// depth of a value.
fn collect(value: &Value, ids: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if name == "admin_config"
                    && let Some(id) = member.get("config_id").and_then(Value::as_str)
                {
                    ids.push(id.to_owned());
                }
                collect(member, ids);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, ids)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn config_ids_are_those_of_taps() {
        let dump = json!({ "configs": [
            { "common_config": { "admin_config": { "config_id": "b" } } },
            [{ "admin_config": { "config_id": "a" }, "config_id": "no" }],
            { "admin_config": "odd" },
        ] });
        let mut ids = Vec::new();
        collect(&dump, &mut ids);
        ids.sort();
        assert_eq!(ids, ["a", "b"]);
    }
}
