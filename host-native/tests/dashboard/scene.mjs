// A server in the middle of its work: something in every section, and what strangers may call their files.
import { Mock, key, peer, server, time } from "./mock.mjs";

const ago = (seconds) => time(Date.now() - seconds * 1000);
const ahead = (seconds) => ago(-seconds);
const GB = 1e9;

export const HOSTILE = `<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>\u202egpj.exe`;

const lost = (text) => ({ class: "transient", code: "Network", error: `connection failed: ${text}` });

/** Forty minutes with three breaks, one of which cost everything so far. */
const EVENTFUL = [
  {
    started_at: ago(2400),
    ended_at: ago(1800),
    offset_from: 0,
    offset_to: 1.9 * GB,
    outcome: "failed",
    ...lost("reading the body: connection reset by peer"),
    wait_ms: 900,
    asked_by: "jitter",
  },
  {
    started_at: ago(1799),
    ended_at: ago(1500),
    offset_from: 1.9 * GB,
    offset_to: 2.6 * GB,
    outcome: "failed",
    class: "transient",
    code: "IdleTimeout",
    error: "no data received for 60 s",
    wait_ms: 120000,
    asked_by: "retry_after",
  },
  {
    started_at: ago(1380),
    ended_at: ago(700),
    offset_from: 2.6 * GB,
    offset_to: 2.1 * GB,
    outcome: "failed",
    ...lost("reading the body: connection reset by peer"),
    wait_ms: 3200,
    asked_by: "jitter",
    restart_reason: "validator_changed",
    discarded_bytes: 2.6 * GB,
  },
  { started_at: ago(696), offset_from: 2.1 * GB },
];

const REFUSED = [
  {
    started_at: ago(900),
    ended_at: ago(899),
    offset_from: 0,
    offset_to: 0,
    outcome: "failed",
    class: "permanent",
    code: "Status",
    error: "the server answered 404",
  },
];

export async function scene(options) {
  const mock = new Mock(options);
  const peer = (name, id) => ({ peer_name: name, peer_id: id, item_id: `movie:${id}` });
  const digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

  for (let number = 60; number > 0; number -= 1) {
    const at = ago(number * 7300);
    const size = (0.4 + (number % 7) * 0.9) * GB;
    const name = `The.Long.Road.S${String(1 + (number % 4)).padStart(2, "0")}E${String(1 + (number % 12)).padStart(2, "0")}.1080p.mkv`;
    mock.add({
      filename: name,
      status: number % 3 ? "import_queued" : "completed",
      import_state:
        number % 3 ? "accepted by Series" : number === 3 ? "pending at Series: the server answered 503" : null,
      expected_bytes: size,
      downloaded_bytes: size,
      attempts: 1 + (number % 4),
      sha256_got: digest,
      completed_at: at,
      updated_at: at,
      created_at: at,
      ...peer("attic", "c0ffee01"),
    });
  }
  mock.add({
    filename: "Harbour Lights (2021) 2160p.mkv",
    status: "cancelled",
    expected_bytes: 18 * GB,
    downloaded_bytes: 3.2 * GB,
    durable_bytes: 3.2 * GB,
    attempts: 2,
    updated_at: ago(86400),
    ...peer("attic", "c0ffee01"),
  });
  mock.add(
    {
      filename: "A Quiet Winter (2019) 1080p.mkv",
      status: "failed",
      attempts: 1,
      error: "the server answered 404",
      error_class: "permanent",
      error_code: "Status",
      updated_at: ago(899),
    },
    REFUSED,
  );
  mock.add({
    filename: HOSTILE,
    status: "failed",
    attempts: 5,
    restarts: 1,
    expected_bytes: 4.7 * GB,
    downloaded_bytes: 4.1 * GB,
    error: "no space left for /srv/films/x.part: No space left on device (os error 28)",
    error_class: "permanent",
    error_code: "DiskFull",
    updated_at: ago(7300),
    ...peer("attic", "c0ffee01"),
  });
  mock.add({
    filename: "Northern Line (2024) 1080p.mkv",
    expected_bytes: 6.4 * GB,
    created_at: ago(300),
    ...peer("cellar", "deadbeef"),
  });
  mock.add({ filename: "Northern Line Extras.mkv", created_at: ago(280), ...peer("cellar", "deadbeef") });
  mock.add({
    filename: "The Orchard (2023) 2160p HDR.mkv",
    status: "waiting",
    attempts: 3,
    expected_bytes: 22 * GB,
    downloaded_bytes: 13.4 * GB,
    durable_bytes: 13.4 * GB,
    waiting_until: ahead(82000),
    waiting_why: "the peer cannot be reached: connection failed: connecting to 192.0.2.7:5225: no route to host",
    ...peer("cellar", "deadbeef"),
  });
  mock.add({
    filename: "Saltmarsh.S02E05.1080p.mkv",
    status: "waiting",
    attempts: 2,
    expected_bytes: 1.9 * GB,
    downloaded_bytes: 0.7 * GB,
    durable_bytes: 0.7 * GB,
    waiting_until: ahead(48),
    waiting_why: "the server answered 503",
  });
  mock.add(
    {
      filename: "Meridian (2022) 2160p.mkv",
      status: "downloading",
      attempts: 4,
      restarts: 1,
      started_at: ago(2400),
      created_at: ago(2410),
      expected_bytes: 6.1 * GB,
      expected_bytes_source: "content_range",
      downloaded_bytes: 4.0 * GB,
      durable_bytes: 3.9 * GB,
      etag: '"5f1e-62b"',
      ...peer("attic", "c0ffee01"),
    },
    EVENTFUL,
  );
  mock.add(
    {
      filename: "debian-13.2.0-amd64-netinst.iso",
      status: "downloading",
      attempts: 1,
      started_at: ago(20),
      expected_bytes: 783 * 1e6,
      expected_bytes_source: "content_length",
      downloaded_bytes: 212 * 1e6,
      durable_bytes: 192 * 1e6,
      sha256_wanted: digest,
    },
    [{ started_at: ago(20), offset_from: 0 }],
  );
  mock.add({ filename: "nightly-dump.tar.zst", status: "downloading", attempts: 1, downloaded_bytes: 48 * 1e6 }, [
    { started_at: ago(9), offset_from: 0 },
  ]);

  mock.peers = [
    {
      id: "c0ffee01",
      name: "attic",
      url: "https://attic.example.org/",
      version: "0.4.1",
      reachable: true,
      since: ago(500000),
      next_probe_at: null,
      error: null,
      last_search: { at: ago(130), releases: 214, error: null },
    },
    {
      id: "deadbeef",
      name: "cellar",
      url: "http://192.0.2.7:5225/",
      version: "0.3.0",
      reachable: false,
      since: ago(4400),
      next_probe_at: ahead(140),
      error: "connection failed: connecting to 192.0.2.7:5225: no route to host",
      last_search: { at: ago(130), releases: null, error: "no answer within 10 s" },
    },
    {
      id: "00112233",
      name: "cousin",
      url: "https://cousin.example.net/regrip/",
      version: null,
      reachable: null,
      since: null,
      next_probe_at: null,
      error: null,
    },
  ];
  mock.stubs = [
    {
      stub_name: "glasshouse.torrent",
      peer_id: "deadbeef",
      peer_name: "cellar",
      item_id: "movie:77",
      name: "Glasshouse (2020) 1080p",
      size: 7.2 * GB,
      found_at: ago(4000),
      attempts: 6,
      error: "connection failed: connecting to 192.0.2.7:5225: no route to host",
      next_try_at: ahead(95),
    },
  ];
  return mock.start();
}

/** Lets the running downloads of the scene go on, so that there is a speed to show. */
export async function run(mock, steps = 12) {
  const running = [...Array(80).keys()].map((id) => mock.row(id)).filter((row) => row?.status === "downloading");
  for (let step = 0; step < steps; step += 1) {
    for (const row of running)
      mock.emit("progress", row.id, {
        bytes: row.downloaded_bytes + 1.4e6 * (1 + (row.id % 3)),
        total: row.expected_bytes,
      });
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

/** Pages beside the downloads, with something of everything. */
export async function pages() {
  const mock = new Mock();
  mock.peers = [
    peer("aaaa0001", "anna", { last_search: { at: time(Date.now()), releases: 120, error: null } }),
    peer("bbbb0002", "bob", { reachable: false, version: null, error: "connection failed: the name bob.example is unknown" }),
  ];
  mock.keys = [
    key(1, "anna", { last_used_at: time(Date.now() - 600_000) }),
    key(2, "a friend with a very long name who lives far away in the mountains", { expires_at: "2030-01-31T23:59:59.000Z" }),
    key(3, "carl", { revoked_at: "2026-11-20T12:00:00.000Z" }),
  ];
  const refusal = '[{"propertyName":"Host","errorMessage":"Unable to connect to qBittorrent, check your host and credentials","isWarning":false}]';
  mock.servers = [
    server("Films"),
    server("Series", { type: "sonarr", url: "http://sonarr:8989/base", category: "series", registration: "failed", error: `/api/v3/downloadclient was answered with 400: ${refusal}` }),
    server("Anime", { type: "sonarr", category: null, registration: "off", tried_at: null }),
  ];
  mock.releases = [
    { id: "aaaa0001:1", title: "Meridian (2016) 2160p", size: 8.4e9, category: 2045 },
    { id: "aaaa0001:2", title: "A.Very.Long.Release.Name.Of.A.Film.That.Nobody.Has.Seen.2019.1080p.BluRay.x264-GROUP", size: 12.1e9, category: 2040 },
    { id: "aaaa0001:3", title: "Harbour S02E03 1080p", size: 1.2e9, category: 5040 },
  ];
  mock.failures = ["peer bob: connection failed: the name bob.example is unknown"];
  return mock.start();
}
