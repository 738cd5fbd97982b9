//! The URL of an admin interface.

use std::fmt;

/// The URL of an admin interface: `http://HOST[:PORT][/PREFIX]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(String);

impl std::str::FromStr for Url {
    type Err = String;

    /// Parses a URL.
    ///
    /// # Errors
    /// When `text` is not a URL, or of a kind that is not supported.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("unix:") || text.starts_with('/') || text.starts_with('@') {
            return Err(
                "a Unix socket, which is not supported: Envoy's admin interface needs a TCP address"
                    .into(),
            );
        }
        let lower = text.to_ascii_lowercase();
        if lower.starts_with("https:") {
            return Err(
                "an https URL, which is not supported: Envoy's admin interface speaks plain HTTP"
                    .into(),
            );
        }
        // The scheme is optional, as for curl.
        let rest = match lower.strip_prefix("http://") {
            Some(rest) => &text[text.len() - rest.len()..],
            None if text.contains("://") => return Err("not an http:// URL".into()),
            None => text,
        };
        let rest = rest.trim_end_matches('/');
        // Users may paste the URL of the endpoint itself.
        let rest = rest.strip_suffix("/tap").unwrap_or(rest);
        let url = format!("http://{rest}");
        let parsed: ureq::http::Uri = url.parse().map_err(|error| format!("not a URL: {error}"))?;
        if parsed.host().is_none_or(str::is_empty) {
            return Err("not a URL with a host, such as http://localhost:9901".into());
        }
        if parsed.query().is_some() || rest.contains(['#', '@']) {
            return Err(
                "not a URL that has only a host, a port and a path, such as http://localhost:9901"
                    .into(),
            );
        }
        let port_is_there = parsed.port_u16().is_some();
        let port_is_said = parsed.authority().is_some_and(|authority| {
            authority
                .as_str()
                .rsplit(']')
                .next()
                .is_some_and(|end| end.contains(':'))
        });
        if port_is_said && !port_is_there {
            return Err("not a URL with a port below 65536".into());
        }
        Ok(Self(url))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_and_invalid_urls() {
        let good = [
            ("http://localhost:9901", "http://localhost:9901"),
            ("localhost:9901/", "http://localhost:9901"),
            ("HTTP://Envoy.example", "http://Envoy.example"),
            ("http://[::1]:9901", "http://[::1]:9901"),
            ("http://[::1]", "http://[::1]"),
            ("http://127.0.0.1:9901/a/b/", "http://127.0.0.1:9901/a/b"),
            ("http://localhost:9901/tap", "http://localhost:9901"),
        ];
        for (text, expected) in good {
            assert_eq!(
                text.parse::<Url>().map(|url| url.to_string()).as_deref(),
                Ok(expected)
            );
        }
        let bad = [
            ("https://localhost:9901", "https"),
            ("unix:///run/envoy.sock", "a Unix socket"),
            ("/run/envoy.sock", "a Unix socket"),
            ("ftp://localhost", "http://"),
            ("http://", "URL"),
            ("", "URL"),
            ("http://:9901", "URL"),
            ("http://localhost:port", "URL"),
            ("http://localhost:99999", "URL"),
            ("http://localhost:9901/?x", "path"),
            ("http://me:secret@localhost:9901", "path"),
            ("http://a b", "URL"),
        ];
        for (text, expected) in bad {
            let error = text.parse::<Url>().expect_err(text);
            assert!(
                error.contains(expected) || expected == "URL",
                "{text:?}: {error}"
            );
        }
    }
}
