//! The `[apps.<name>.retention]` section: which old versions go.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which versions of an app stay, counted for each platform, processor and channel (`latest`, or the word of a
/// pre-release). A version goes when no rule that is set keeps it; without any, all stay. Never taken away: the newest
/// version, what a manifest names (in front of a rollout, under a halt or a pin too), names without a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// The newest versions that stay; 0: no such rule.
    pub keep_versions: u32,
    /// Days for which a version stays after it was published; 0: no such rule.
    pub keep_days: u32,
    /// Days for which a block map stays, also when its version goes: apps that still run that version need it to download
    /// only differences.
    pub keep_blockmaps_days: u32,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention {
            keep_versions: 0,
            keep_days: 0,
            keep_blockmaps_days: 365,
        }
    }
}

impl Retention {
    /// Whether any version would ever go.
    pub fn is_set(&self) -> bool {
        self.keep_versions > 0 || self.keep_days > 0
    }
}
