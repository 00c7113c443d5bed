"""Faults on real processes: what goes wrong is said in words, what was acknowledged is kept, and all goes on.

Each item of the issue's section "Bad input and faults", and the tests that cover it. Paths are from ``tests/``;
those without a folder are here.

| item | covered by |
|---|---|
| port taken | ``test_starting`` (start, restart), ``node/cli/test_life_cycle`` (up), ``bootstrap/test_ports`` |
| folder not writable | ``test_starting`` (/proc, /dev/null, a file in the way), ``node/cli/test_life_cycle`` (modes) |
| folder used by another process | ``test_starting``, ``bootstrap/test_peer_folder`` |
| damaged ``peer.json`` | ``test_damage``, ``node/storage/test_documents`` (every byte), ``node/test_peer_disk`` |
| damaged ``records.sqlite`` | ``test_damage``, ``node/storage/test_records_damage`` (every byte, cut anywhere) |
| damaged ``vote`` | ``test_damage``, ``node/storage/test_vote`` (every byte, torn writes) |
| damaged ``node.key``, ``start.json`` | ``test_damage``, ``node/cli/test_life_cycle``, ``bootstrap/test_settings`` |
| disk full | ``test_disk_full`` (a running peer), ``node/storage/test_records_durability`` (the store) |
| wrong or missing key | ``test_starting`` (damaged, missing, ``--key-file``), ``test_two_networks`` (another's) |
| clock an hour off; it writes and deletes | ``test_clocks``, ``protocol/test_network_time`` |
| key too long or empty, value too large | ``test_odd_input``, ``test_contract`` (routes) |
| odd names | ``test_odd_input`` (keys, prefixes, peers, networks, seeds), ``node/cli/test_command_line`` |
| unknown peer; no peer reachable | ``test_dying_peer``, ``test_contract`` |
| a peer that dies in the middle of each command | ``test_dying_peer`` |
| two ``up`` of the same network | ``node/cli/test_life_cycle`` |
| two networks on one machine | ``test_two_networks``, ``bootstrap/test_discovery`` (zeroconf) |
| 100,000 random and mutated datagrams under load | ``test_flood``, ``protocol/test_codec`` (any bytes) |
| a stranger with another key | ``test_flood`` (UDP, TCP), ``node/test_peer_port`` |
| replayed datagrams, also after a restart | ``test_hostile_member``, ``protocol/test_envelope`` |
| a member that claims term 2^62 | ``test_hostile_member``, ``protocol/election`` |
| both halves of a cut and its healing | ``test_cut``, ``protocol/members/test_stories`` (many seeds) |
| all peers stopped and started again | ``test_endings`` (``down`` under load, a power cut under load) |
| SIGTERM against SIGKILL | ``test_endings`` |
| the last peer alive leads itself | ``test_endings`` |

``asking`` asks peers over HTTP, ``words`` checks what a command says, ``small_disk`` and ``cut`` make namespaces,
``hostile`` and ``flood`` speak the protocol without keeping to it, ``shifted_clock`` and ``stand_in`` are processes
and servers that are wrong in one way.
"""
