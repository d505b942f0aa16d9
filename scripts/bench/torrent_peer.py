#!/usr/bin/env python3
"""One peer of libtorrent: torrent_peer.py TORRENT FOLDER RATE       RATE: bytes a second of all uploads; 0: no limit

Prints `ready`, begins at the next line of its input, prints `whole` when it has the file, and gives until its input ends.
"""

import sys
import time

import libtorrent

LOOK = 0.005
SETTINGS = {"listen_interfaces": "127.0.0.1:0", "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
            "enable_incoming_utp": False, "enable_outgoing_utp": False, "allow_multiple_connections_per_ip": True, "ssrf_mitigation": False,
            "connection_speed": 200, "min_reconnect_time": 1, "unchoke_slots_limit": -1, "in_enc_policy": 2, "out_enc_policy": 2,
            "announce_to_all_trackers": True, "no_announce_interval": 0, "min_announce_interval": 1, "alert_mask": 0}


def main():
    torrent, folder, rate = sys.argv[1], sys.argv[2], int(sys.argv[3])
    session = libtorrent.session({key: value for key, value in SETTINGS.items() if key in libtorrent.default_settings()})
    if rate:
        # Peers of the own network are in a class of their own, which has no limit by itself.
        session.apply_settings({"upload_rate_limit": rate})
        limits = session.get_peer_class(session.local_peer_class_id)
        limits["upload_limit"] = rate
        session.set_peer_class(session.local_peer_class_id, limits)
    print("ready", flush=True)
    sys.stdin.readline()
    handle = session.add_torrent({"ti": libtorrent.torrent_info(torrent), "save_path": folder})
    handle.set_max_connections(1000)
    while not handle.status().is_seeding:
        time.sleep(LOOK)
    print("whole", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
