//! Folders and files of this machine: scanning, watching, mapping, and the files of a download.

pub mod allowed_dir;
pub mod dir_walk;
mod draft;
pub mod folder;
pub mod guard;
pub mod hash_cache;
pub mod inotify;
pub mod key_file;
pub mod local_file;
pub mod manifest;
mod mapped_window;
pub mod missing_calls;
pub mod mmap_source;
pub mod mounts;
pub mod name_list;
pub mod own_folder;
pub mod part_file;
pub mod pins;
pub mod poster_cache;
pub mod saved_lists;
pub mod secret;
pub mod secret_file;
pub mod server_keys;
pub mod settings_file;
pub mod state_folder;
pub mod top;
pub mod watch_set;
