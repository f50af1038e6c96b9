// Every kind of setting of env/schema.json with values that the program behind it cannot take, and with healthy extremes.
import assert from "node:assert/strict";
import { type Setting, SETTINGS, validate } from "../../../lib/config/schema.ts";
import schema from "../../../env/schema.json" with { type: "json" };
import { project, SECRET_ENV, wording } from "../../support/project_fixture.ts";

const LONG = "a".repeat(64);
const BCRYPT = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.";
const SUM = "#sha256=b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c";

/** No size of anything, in whatever unit. */
const NO_SIZES = [
  "0Gi",
  "01Gi",
  "10",
  "10G",
  "10GB",
  "10 Gi",
  "-1Gi",
  "1.5Gi",
  "10gi",
  "8388608Ti",
];
const NO_MEMORY = ["0Gi", "01Gi", "10", "10M", "1GB", "-1Gi", "1.5Gi", "1gi", "8388608Ti"];

/** By kind: what is refused, and what is accepted. */
const VALUES: Record<string, { hostile: string[]; healthy: string[] }> = {
  label: {
    hostile: ["Upper", "a_b", "-a", "a-", "a.b", "a b", LONG, "가", "a$b", "ａ"],
    healthy: ["a", "1", "a--b", LONG.slice(1)],
  },
  "number-of-cluster": {
    hostile: ["0", "0197", "-1", "1e3", "100000", "19.7", "１９７"],
    healthy: ["1", "99999"],
  },
  groups: {
    hostile: ["197", "all", "edges", "pilot all", "all pilot", "a edges b", "a,b", "a  b", " a"]
      .concat("a ", "Pilot", "1a", "-a", "a-", "a b-", "25%", "a_b", "서울"),
    healthy: ["pilot", "pilot seoul", "all-of-seoul edges-2", "a", `${LONG} b`],
  },
  reason: {
    hostile: [" a", "a ", "a".repeat(81)],
    healthy: ["rack move", "랙 이전, bis Freitag", "a".repeat(80)],
  },
  day: {
    hostile: ["2026-02-30", "2026-13-01", "2026-00-10", "2026-12-00", "2027-02-29", "2026-12-4"]
      .concat("4.12.2026", "2026.12.04", "2026-12-04T00:00:00Z", "friday", "2126-12-04"),
    healthy: ["2028-02-29", "2026-12-31", "2000-01-01"],
  },
  context: {
    hostile: ["a b", "a;b", "a$HOME", "a`id`", "$(id)", "a|b", "'a'", "-a", "a\\tb", "a&b", "a>b"],
    healthy: [
      "mkube-197",
      "arn:aws:eks:eu-west-1:123456789012:cluster/main",
      "default/api-crc-testing:6443/kube:admin",
      "gke_project_zone_name",
      "admin@home.example",
      "민기",
    ],
  },
  path: {
    hostile: ["~/kubeconfig", " a", "a "],
    healthy: ["/", "a", "/home/kim/My Files/k=v", "../above", "/집/설정", "/a~b"],
  },
  ipv4: {
    hostile: ["0.0.0.0", "0.1.2.3", "127.0.0.1", "127.9.9.9", "224.0.0.1", "239.255.255.255"]
      .concat("240.0.0.1", "255.255.255.255", "169.254.1.1", "192.168.101.256", "192.168.101")
      .concat("192.168.101.0197", "0xc0a86501", "3232261573", "192.168.101.197/24", "fe80::1")
      .concat("192.168.101.197:8443", "192.168.101.197.", "１９２.168.101.197"),
    healthy: ["1.0.0.0", "10.0.0.0", "192.168.101.255", "172.20.40.21", "223.255.255.255"],
  },
  networks: {
    hostile: ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/08", "10.0.0.256/8", "10.0.0.0/8, 10.1.0.0/16"]
      .concat("10.0.0.0/8,", "fd00::/8", "010.0.0.0/8", "any"),
    healthy: ["0.0.0.0/0", "10.0.0.1/8", "192.168.101.10/32,10.0.0.0/8"],
  },
  host: {
    hostile: [
      "Cluster.Local",
      "a..b",
      ".a",
      "a.",
      "-a",
      "a_b",
      `${LONG}.b`,
      "a.1",
      "a.0x1",
      "xn--a",
      "가",
    ],
    healthy: ["local", "cluster.local", "a.b-c.d1", `${LONG.slice(1)}.x`],
  },
  domain: {
    hostile: ["lab", "Mkube.lab", "a..lab", "a.lab.", "-a.lab", "a_b.lab", `${LONG}.lab`, "1.2.3.4"]
      .concat("a.1", "a.0x7f", "xn--a.lab", "a.lab:80", "https://a.lab", "가.lab", "a.lab/x")
      .concat(Array(60).fill("aaaa").join(".")),
    healthy: ["a.b", "mkube-197.miribit.lab", "xn--3e0b707e.kr"],
  },
  server: {
    hostile: ["https://192.168.101.197", "h:0", "h:65536", "h:08443", "h:", "0.0.0.0", "224.0.0.1"]
      .concat(
        "192.168.101.256",
        "0x7f.1",
        "0177.0.0.1",
        "2130706433",
        "1.2.3",
        "a..b",
        "[::1]:8443",
      )
      .concat("user:password@h:8443", "xn--a", "h/x"),
    healthy: ["127.0.0.1", "127.0.0.1:1", "api.example:65535", "API.Example", "localhost:6443"],
  },
  "https-url": {
    hostile: [
      "http://h",
      "https://",
      "https://h/",
      "https://h/path",
      "https://h:0",
      "https://h:99999",
    ]
      .concat(
        "https://h:0443",
        "https://h:",
        "https://1.2.3.256",
        "https://0x7f.1",
        "https://0177.0.0.1",
      )
      .concat(
        "https://2130706433",
        "https://1.2.3",
        "https://xn--a",
        "https://a..b",
        "https://0.0.0.0",
      )
      .concat(
        "https://239.0.0.1",
        "https://user:p4ssw0rd@h",
        "https://a_b.c d",
        "HTTPS://h",
        "h:9000",
      )
      .concat("https://[::1]", `https://${LONG}.b`, "https://h.", "https://h?x", "https://h#x"),
    healthy: [
      "https://172.20.40.21:30001",
      "https://s3.Example.com",
      "https://h:1",
      "https://h:65535",
    ],
  },
  "web-url": {
    hostile: [
      "http://",
      "ftp://h",
      "h/x",
      "http://h:99999/x",
      "http://h:0",
      "http://h:080/",
      "http://1.2.3.256/",
    ]
      .concat(
        "http://0x7f.1/",
        "http://xn--a/",
        "http://0.0.0.0/",
        "http://h/a b",
        "http://h/가",
        "http://a..b",
      ),
    healthy: [
      "http://h",
      "https://u:p@h:8443/a?b=c&d=%20#e",
      "http://127.0.0.1:9/",
      "http://[fd00::1]:80/x",
    ],
  },
  "pinned-url": {
    hostile: [
      "https://h/z.zip",
      "https://h/z.zip#sha256=12",
      `h/z.zip${SUM}`,
      `https://h:99999/z${SUM}`,
    ]
      .concat(
        `https://h/$(HOME)${SUM}`,
        `https://h/a b${SUM}`,
        `https://1.2.3.256/z${SUM}`,
        `https://h/z${SUM}0`,
      )
      .concat(`file:///z${SUM}`, `https://h/'${SUM}`),
    healthy: [`https://files.example.org/a/z-3.9.0.zip${SUM}`, `http://u:p@h:81/z?x=1${SUM}`],
  },
  page: {
    hostile: [
      "docs/runbooks",
      "http://h/a b",
      "http://h/{{ .x }}",
      "http://h/${DOMAIN}",
      "http://h/a'b",
    ]
      .concat('http://h/a"b', "http://h/<a>", "http://h/a\\b", "http://h:99999/", "ftp://h/"),
    healthy: [
      "http://h",
      "https://git.example/x/-/tree/main/docs?a=b#c",
      "https://wiki.example/런북",
    ],
  },
  image: {
    hostile: [
      "traefik",
      "traefik:",
      "traefik:latest ",
      "Traefik/Traefik:v3",
      "http://h/traefik:v3",
      "h:99999999/x:v1",
    ]
      .concat(
        "h//x:v1",
        "/x:v1",
        "x:v1@sha256:12",
        "x:-v1",
        "x:v1:v2",
        "x:" + LONG + LONG,
        "a b:v1",
        "x$y:v1",
      )
      .filter((value) => value.trim() === value),
    healthy: [
      "traefik:v3.7.13",
      "localhost:5000/a/b_c/d--e:3",
      "registry.k8s.io/a/b:v1@sha256:" + "0".repeat(64),
    ],
  },
  registry: {
    hostile: [
      "https://h",
      "h/",
      "h//a",
      "h:0",
      "h:",
      "-h",
      "h/A",
      "h/a b",
      "/a",
      "h/a:tag",
      "user@h",
    ],
    healthy: ["h", "registry.miribit.lab:5000", "h/a/b-c", "10.0.0.1:5000/mirror"],
  },
  class: {
    hostile: ["Longhorn", "a_b", "-a", "a-", "a..b", "a/b", "a b", "a".repeat(254)],
    healthy: ["standard", "local-path", "ceph.rbd", "1"],
  },
  "access-key": {
    hostile: ["ab", "a b", "a=b", "a,b", "열쇠열", "a".repeat(129), "abc\u00e9"],
    healthy: ["abc", "AKIAIOSFODNN7EXAMPLE", "a/b+c:d@e", "1234567890", "a".repeat(128)],
  },
  "s3-secret": {
    hostile: ["1234567", " 12345678", "12345678 ", "a".repeat(1025)],
    healthy: [
      "12345678",
      "0b1010101",
      "비밀번호 입니다🔑",
      "a'b\"c$d e\\f#g",
      "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
      "a".repeat(1024),
    ],
  },
  password: {
    hostile: ["1", "12345", "가나다라마", "a".repeat(1025)],
    healthy: ["123456", "가나다라마바", ' it\'s "so" #1 $x ', "a".repeat(1024)],
  },
  login: {
    hostile: [
      "admin",
      "admin:",
      "admin:password",
      "admin:$6$saltsalt$" + "a".repeat(86),
      "admin:{PLAIN}password",
    ]
      .concat(
        "admin:$5$saltsalt$" + "a".repeat(43),
        "admin:{SSHA}" + "a".repeat(32),
        "admin:abJnggxhB/yWI",
        ":{SHA}x",
      )
      .concat(
        "#admin:{SHA}EXR+0qOQT4KTG69ZJEN3IlnqjcE=",
        `a b:$2y$05$${BCRYPT}`,
        `admin:$2y$03$${BCRYPT}`,
      )
      .concat(
        `admin:$2y$31$${BCRYPT}`,
        "admin:{SHA}short=",
        // Of no 20 bytes, of no 16: nobody's password.
        "admin:{SHA}dummyhashdummyhashdummyhash=",
        "admin:$apr1$saltsalt$" + "h".repeat(22),
        "admin:$apr1$saltsalt$short",
        `admin:$2y$05$${BCRYPT}x`,
      ),
    healthy: [`admin:$2y$05$${BCRYPT}`, `a@b.c:$2a$12$${BCRYPT}`, `민기:$2b$10$${BCRYPT}`]
      .concat(
        "admin:$apr1$f5OMQFIY$hB5CJIL8RYDwfj5ruJX4z.",
        "admin:$1$rHhmCmLh$Y6XEvImemGe9tBogAaleQ/",
      )
      .concat("admin:{SHA}C5URNWIiYDj4DO8+Ih+LdY8EvGQ="),
  },
  bucket: {
    hostile: [
      "ab",
      "Thanos",
      "a_b",
      "a..b",
      "a.-b",
      "a-.b",
      "-ab",
      "ab-",
      "192.168.1.1",
      "a b c",
      LONG,
      "a/b",
    ],
    healthy: ["abc", "a.b.c", "a--b", "123", LONG.slice(1)],
  },
  cron: {
    hostile: [
      "0 3 * *",
      "0 3 * * * *",
      "60 3 * * *",
      "0 24 * * *",
      "0 3 0 * *",
      "0 3 32 * *",
      "0 3 * 13 *",
    ]
      .concat(
        "0 3 * * 7",
        "*/0 * * * *",
        "5-1 * * * *",
        "a b c d e",
        "@daily",
        "0  3 * * *",
        "CRON_TZ=UTC 0 3 * * *",
      )
      .concat(
        "0 3 31 2 *",
        "0 3 30 2 *",
        "0 3 31 4,6 *",
        "1,,2 * * * *",
        "-1 * * * *",
        "TZ=UTC 3 * * *",
        "0 3 * * *;x",
      ),
    healthy: [
      "0 3 * * *",
      "never",
      "*/15 0-6,22 1,15 JAN-mar mon-FRI",
      "? ? ? ? ?",
      "0 3 31 1,2 *",
      "0 3 29 2 *",
    ]
      .concat("00 03 * * 0", "5/10 * * * *", "0 3 31 2 1"),
  },
  "folder-of-node": {
    hostile: [
      "/",
      "var/lib/",
      "/var/lib",
      "/var//lib/",
      "/var/../etc/",
      "/./",
      "/a b/",
      "/a$b/",
      "/a'b/",
      "~/longhorn/",
    ],
    healthy: ["/data/", "/var/lib/longhorn/", "/mnt/.disk_1/디스크/"],
  },
  "log-files": {
    hostile: [
      "/etc/passwd",
      "/var/log",
      "/var/log/",
      "/var/log/../../etc/shadow",
      "/var/log/a,",
      "/var/log/a b",
    ]
      .concat(
        "/var/log/$(HOSTNAME)",
        "/var/log/${HOSTNAME}",
        "/var/log/a'b",
        "/var/log/a,/etc/b",
        "/var/log//a",
      )
      .concat("/var/log/.", "/var/log/a/..,/var/log/b", "C:\\log", "var/log/a"),
    healthy: [
      "/var/log/*.log",
      "/var/log/nginx/*.log,/var/log/a-b_c/d[0-9]?.1",
      "/var/log/로그.log",
      "/var/log/..a",
    ],
  },
  timezone: {
    hostile: [
      "utc",
      "asia/seoul",
      "Asia/seoul",
      "Asia/KOLKATA",
      "Asia/Seoull",
      "KST",
      "UTC+9",
      "+09:00",
      "Asia/",
      "서울",
    ]
      .concat(
        "GMT+9",
        "Asia/Seoul ",
        "../etc/localtime",
        "America/New_YORK",
        "Korea Standard Time",
      ),
    healthy: ["UTC", "Asia/Seoul", "America/Argentina/Buenos_Aires", "America/Port-au-Prince"]
      .concat("Etc/GMT+9", "Etc/UTC", "Asia/Kolkata"),
  },
  claims: {
    hostile: ["grafana", "a/b/c", "/a", "a/", "a/b,", ",a/b", "a/b, c/d", "A/b", "a/b_c", "a/b|c/d"]
      .concat("a/-b", "a/b.", "(a)/b", 'a/b"', "a/$b", "가/a"),
    healthy: ["a/b", "*/*", "monitoring/alertmanager-*,shop/db.0", "a/*,*/b"],
  },
  duration: {
    hostile: [
      "0s",
      "01s",
      "30",
      "30 s",
      "-30s",
      "1.5h",
      "1h30m",
      "30S",
      "30sec",
      "1y",
      "99999999w",
      "5201w",
      "３0s",
      "1e3s",
    ],
    healthy: [],
  },
  size: {
    hostile: [
      ...NO_SIZES,
      "1e3Gi",
      "1Pi",
    ],
    healthy: ["1Ki", "1Gi", "8388607Ti"],
  },
  volume: {
    hostile: [
      ...NO_SIZES,
      "1Ki",
      "9Mi",
      "10239Ki",
    ],
    healthy: ["10485760Ki", "1024Mi", "8388607Ti"],
  },
  "memory-request": {
    hostile: [
      ...NO_MEMORY,
      "1Ki",
      "1023Ki",
    ],
    healthy: ["1Mi", "32Mi", "1048576Ki", "8388607Ti"],
  },
  "memory-limit": {
    hostile: [
      ...NO_MEMORY,
      "1Ki",
      "15Mi",
    ],
    healthy: ["16Mi", "1048576Ki", "8388607Ti"],
  },
  cache: {
    hostile: [
      "0MB",
      "0128MB",
      "500",
      "500M",
      "500Mi",
      "500mb",
      "-1MB",
      "1.5GB",
      "8388608TB",
      "1 GB",
    ],
    healthy: ["500MB", "1GB", "8388607TB"],
  },
  cpu: {
    hostile: [
      "0",
      "0m",
      "0.0",
      "0.0001",
      "01",
      "100 m",
      "-1",
      "1,5",
      "1e3",
      "1k",
      "1025",
      "1025000m",
      ".5",
      "1.",
    ],
    healthy: ["1m", "0.001", "0.10", "1.5", "1024", "100m"],
  },
  heap: {
    hostile: ["0g", "1", "1G", "1gb", "01g", "1.5g", "-1g", "1 g", "50%"],
    healthy: ["512m", "1g", "31g"],
  },
  buffer: {
    hostile: ["0G", "5", "5g", "5GB", "5Gi", "05G", "1.5G", "-5G", "9M", "1000001G"],
    healthy: ["10M", "5G", "1000000G"],
  },
};

/** Kinds that have no name in the schema. */
function valuesOf({ kind, type, enum: words, minimum, maximum, pattern }: Setting) {
  if (kind) return VALUES[kind]!;
  if (type === "boolean") {
    return { hostile: ["yes", "1", "TRUE", "0", "on", "true,"], healthy: ["true", "false"] };
  }
  if (type === "integer") {
    const [first, last] = [minimum!, maximum!];
    const hostile = [
      `${last + 1}`,
      `0${last}`,
      `${last}.0`,
      `${last}.5`,
      "0x10",
      "1e1",
      "+1",
      "-1",
    ];
    const below = first > 0 ? [`${first - 1}`] : [];
    return {
      hostile: [...hostile, ...below, "1_0", "１", "many"],
      healthy: [`${first}`, `${last}`],
    };
  }
  if (words) return { hostile: [`${words[0]} x`, words[0]!.slice(1), "nothing"], healthy: words };
  assert.match(pattern!, /grafana\|fluent-bit/, "a setting without a kind");
  return {
    hostile: ["grafana,", "grafana,,fluent-bit", "Grafana", "prometheus"],
    healthy: ["grafana"],
  };
}

/** What nobody sees, in a value that is fine without it. */
const UNSEEN = [
  "\u200B",
  "\u00A0",
  "\u0007",
  "\n",
  "\t",
  "\u202E",
  "\uFEFF",
  "\u3164",
  "\u2800",
  "\u00AD",
  "\u{E0041}",
];

function hostileTo(setting: Setting): string[] {
  const [fine] = setting.examples!.map(String).filter(Boolean);
  return [
    ...valuesOf(setting).hostile,
    ...UNSEEN.flatMap((sign) => [`${fine}${sign}x`, `x${sign}`]),
  ];
}

function homeOf(name: string): string {
  if (SETTINGS[name]!.writeOnly) return "secret.env";
  return /^(CLUSTER_(ID|NAME|ROLE|DOMAIN)|KUBE_CONTEXT|NODE_IP|NODE_NETWORKS|DOMAIN|REGION|API_HOST|SIDECAR_ADDRESS)$/
      .test(name)
    ? "cluster-197.env"
    : "common.env";
}

/** Lines of `NAME='value'`, and where each begins: `env/common.env:3`. */
function written(
  values: Map<string, string>,
): { files: Record<string, string>; at: Map<string, string> } {
  const files: Record<string, string> = {
    "secret.env": "",
    "cluster-197.env": "",
    "common.env": "",
  };
  const at = new Map<string, string>();
  for (const [name, value] of values) {
    const file = homeOf(name);
    const quote = ["'", "`", '"'].find((sign) => !value.includes(sign));
    at.set(name, `env/${file}:${files[file]!.split("\n").length}`);
    files[file] += `${name}=${quote}${value}${quote}\n`;
  }
  return { files, at };
}

const rounds = Math.max(...Object.values(SETTINGS).map((setting) => hostileTo(setting).length));

Deno.test("P11, X2: every setting refuses every hostile value of its kind, with file and line", async () => {
  const taken: string[] = [], shown: string[] = [];
  let tried = 0;
  for (let round = 0; round < rounds; round++) {
    const values = new Map<string, string>();
    for (const [name, setting] of Object.entries(SETTINGS)) {
      const value = hostileTo(setting)[round];
      // Where the secrets are must be known for what stands there.
      if (value !== undefined && name !== "SECRET_FILE") values.set(name, value);
    }
    if (values.size === 0) continue;
    const { files, at } = written(values);
    await using place = await project(files);
    const error = await place.refusal();
    assert.equal(error.exitCode, 2);
    for (const [name, value] of values) {
      tried++;
      if (!error.where.some((line) => line.startsWith(`${at.get(name)}  ${name} `))) {
        taken.push(`${name}=${JSON.stringify(value)}`);
      }
    }
    shown.push(.../p4ssw0rd|[\u200B\u202E\u2800].*/.exec(wording(error)) ?? []);
  }
  assert.deepEqual({ taken, shown }, { taken: [], shown: [] });
  assert.ok(tried > 4000, String(tried));
});

Deno.test("P11: SECRET_FILE refuses them too", () => {
  for (const value of hostileTo(SETTINGS.SECRET_FILE!)) {
    assert.equal(
      validate({ SECRET_FILE: value }).findings.filter(({ missing }) => !missing).length,
      1,
      value,
    );
  }
});

Deno.test("every setting takes the healthy extremes of its kind, its default and its examples", () => {
  const refused: string[] = [];
  for (const [name, setting] of Object.entries(SETTINGS)) {
    const { atLeast, atMost, examples, default: fallback } = setting;
    const bounds = [atLeast, atMost].flatMap((bound) => bound?.[0] ?? []);
    // Bounds of its own are narrower than those of the kind.
    const own = !kindIsBounded(setting) && bounds.length > 0;
    const healthy = own ? bounds : [...valuesOf(setting).healthy, ...bounds];
    // A default may be made of other settings.
    const ready = String(fallback ?? "").includes("${") ? [] : [fallback ?? ""];
    for (const value of [...healthy, ...examples!, ...ready].map(String).filter(Boolean)) {
      const finding = validate({ [name]: value }).findings.find((one) => one.name === name);
      if (finding) refused.push(finding.text);
    }
  }
  assert.deepEqual(refused, []);
});

const KINDS = schema.$defs as unknown as Record<string, Setting>;

function kindIsBounded({ kind, atLeast, atMost }: Setting): boolean {
  const shared = kind ? KINDS[kind]! : undefined;
  return shared?.atLeast === atLeast && shared?.atMost === atMost;
}

Deno.test("P2, P11: every bound of a setting is the last value that it takes", () => {
  const beyond = (bound: string, by: number) =>
    bound.replace(/\d+/, (digits) => String(Number(digits) + by));
  for (const [name, { atLeast, atMost }] of Object.entries(SETTINGS)) {
    for (const [bound, by] of [[atLeast, -1], [atMost, 1]] as const) {
      if (!bound) continue;
      const values = { [name]: beyond(bound[0], by) };
      const found = validate(values).findings.find((one) => one.name === name)?.text;
      assert.match(
        found ?? `${name}: ${values[name]} is taken`,
        /must be at (least|most)|expected /,
      );
    }
  }
});

Deno.test("every kind of env/schema.json has hostile and healthy values, and is used", () => {
  assert.deepEqual(Object.keys(VALUES).sort(), Object.keys(KINDS).sort());
  const used = new Set(Object.values(SETTINGS).map(({ kind }) => kind));
  for (const [kind, { hostile }] of Object.entries(VALUES)) {
    assert.ok(used.has(kind) && hostile.length > 2, kind);
  }
  assert.match(SECRET_ENV, /hush/);
});
