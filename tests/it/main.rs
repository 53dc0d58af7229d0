//! The integration tests: each file keeps one promise. They drive the real binary over real sockets.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, and says where"
)]

mod harness;

mod api_contract;
mod api_described;
mod audit;
mod basic_auth;
mod channels;
mod config;
mod config_store;
mod contracts;
mod daemon_lifecycle;
mod deny;
mod deploy_bodies;
mod deploy_bucket;
mod deploy_disk;
mod deploy_faults;
mod deploy_http;
mod deploy_keys;
mod deploy_killed;
mod deploy_order;
mod deploy_rules;
mod domains;
mod download_page;
mod downloads;
mod drafts;
mod drafts_expired;
mod drafts_killed;
mod drafts_limits;
mod drafts_nodes;
mod drafts_presigned;
mod drafts_refused;
mod drafts_signed;
mod edge;
mod edge_acme;
mod edge_acme_ari;
mod edge_acme_killed;
mod edge_acme_nodes;
mod edge_acme_renewal;
mod edge_certificates;
mod edge_files;
mod edge_files_browser;
mod edge_files_deploys;
mod edge_files_forms;
mod edge_hosts;
mod edge_probes_h1_bodies;
mod edge_probes_h1_heads;
mod edge_probes_h2_floods;
mod edge_probes_h2_frames;
mod edge_probes_h2_requests;
mod edge_proxy;
mod edge_proxy_faults;
mod edge_proxy_http2;
mod edge_rest;
mod edge_slow;
mod edge_slow_http2;
mod edge_slowhttptest;
mod edge_tls;
mod edge_websocket_http2;
mod electron;
mod feeds;
mod journal;
mod keys;
mod layers;
mod metrics;
mod nix_units;
mod options;
mod publish;
mod publish_plan;
mod publish_resumed;
mod readme;
mod releases_control;
mod releases_diff;
mod releases_republish;
mod retention;
mod route_policies;
mod routes;
mod routes_circles;
mod routes_dead;
mod signaling_access;
mod signaling_bus;
mod signaling_bus_limits;
mod signaling_clients;
mod signaling_limits;
mod signaling_protocol;
mod signaling_rfc6455;
mod store_check_storage;
mod store_durability;
mod store_virtual_host;
mod updates_http;
mod updates_ranges;
