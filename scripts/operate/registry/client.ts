// OCI registries as container runtimes ask them, and the digest of what a tag names there.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { isDigest } from "../../../lib/core/image.ts";
import { homeFolder } from "../../../lib/io/files.ts";
import { proxyHint } from "../../../lib/io/tls.ts";
import {
  configError,
  DeployError,
  ExitCode,
  messageOf,
  serviceError,
  unreachableError,
} from "../../../lib/core/error.ts";

/** With an index of several architectures its digest is asked for: every node finds its own in it. */
export const MANIFEST_KINDS = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
];
const PATIENCE = 20; // seconds for one answer

type Asking = Pick<RequestInit, "method" | "signal"> & { headers?: Record<string, string> };

/** Logins as {@link readLogins} gives them; `instead`: what can be done where no answer comes, but reaching it. */
interface RegistryOptions {
  logins?: ReadonlyMap<string, string>;
  client?: Deno.HttpClient;
  instead?: string;
}

/** The repository of an image at its registry, asked with the login or token that it wants. */
export class Repository {
  readonly host: string;
  readonly tag: string;
  readonly server: string;
  readonly #path: string;
  #authorization = "";

  /** Reads the name as container runtimes do: without a host it is Docker Hub's, and loopback needs no TLS. */
  constructor(image: string, private readonly options: RegistryOptions = {}) {
    const parts = /^(?:([^/]*[.:][^/]*|localhost)\/)?(.+):([^:]+)$/.exec(image)!;
    const [, host = "docker.io", name, tag] = parts;
    const isPlain = /^(localhost|127(\.\d+){3})(:\d+)?$/.test(host), isHub = host === "docker.io";
    this.host = host;
    this.tag = tag!;
    this.server = `${isPlain ? "http" : "https"}://${isHub ? "registry-1.docker.io" : host}`;
    this.#path = isHub && !name!.includes("/") ? `library/${name}` : name!;
  }

  urlOf(name: string): string {
    return `${this.server}/v2/${this.#path}/${name}`;
  }

  /** @throws {DeployError} exit 5 without an answer, 8 where it wants a login at no https address. */
  async ask(name: string, asking: Asking = {}): Promise<Response> {
    const url = this.urlOf(name), answer = await this.#call(url, this.#authorization, asking);
    if (answer.status !== 401) return answer;
    await answer.body?.cancel();
    this.#authorization = await this.#authorize(answer.headers.get("www-authenticate") ?? "");
    return await this.#call(url, this.#authorization, asking);
  }

  async #call(url: string, authorization: string, { headers, ...asking }: Asking = {}) {
    const accept = MANIFEST_KINDS.join(", "), { client, instead } = this.options;
    const own = { accept, ...headers, ...authorization && { authorization } };
    const signal = AbortSignal.timeout(PATIENCE * 1000);
    try {
      return await fetch(url, { signal, ...asking, headers: own, client });
    } catch (error) {
      const why = (error as Error).cause ?? error, { host, hostname } = new URL(url);
      const other = instead ??
        "set IMAGE_REGISTRY to a registry that it reaches so (S3_CA_FILE is trusted there)";
      throw unreachableError(`Cannot ask the registry ${this.host}: no answer`, {
        where: [`${url}: ${messageOf(why)}`, ...proxyHint(hostname)],
        fix: `let this machine reach ${host} over TLS, or ${other}`,
      });
    }
  }

  async #authorize(challenge: string): Promise<string> {
    const login = this.options.logins?.get(this.host);
    const basic = login ? `Basic ${login}` : "";
    if (!/^bearer /i.test(challenge)) return basic;
    const wants = Object.fromEntries(
      [...challenge.matchAll(/(\w+)="([^"]*)"/g)].map(([, name, value]) => [name!, value!]),
    );
    const realm = URL.parse(wants.realm ?? "");
    if (!realm || realm.protocol !== "https:" && this.server.startsWith("https:")) {
      throw serviceError(`Cannot log in to ${this.host}: it names no https address for that`, {
        where: challenge,
        fix: "ask who runs the registry",
      });
    }
    if (wants.service) realm.searchParams.set("service", wants.service);
    realm.searchParams.set("scope", wants.scope ?? `repository:${this.#path}:pull`);
    const answer = await this.#call(realm.href, basic);
    const { token, access_token } = await answer.json().catch(() => ({}));
    // Without one the registry's own answer says what is wrong.
    return access_token || token ? `Bearer ${access_token || token}` : "";
  }
}

/** What an image's tag names at its registry, as `sha256:…`. @throws {DeployError} exit 5: no answer or login, 8: another. */
export async function digestOf(image: string, options?: RegistryOptions): Promise<string> {
  const repository = new Repository(image, options);
  const name = `manifests/${repository.tag}`, url = repository.urlOf(name);
  let answer = await repository.ask(name, { method: "HEAD" });
  let digest = answer.headers.get("docker-content-digest");
  if (answer.ok && !digest) {
    // Nobody must send it; what is sent for GET hashes to it.
    answer = await repository.ask(name);
    digest = `sha256:${createHash("sha256").update(await answer.bytes()).digest("hex")}`;
  }
  if (!answer.ok) throw refusal(`Cannot pin ${image}`, url, repository.host, answer.status);
  const kind = answer.headers.get("content-type")?.split(";")[0] ?? "";
  if (MANIFEST_KINDS.includes(kind) && digest && isDigest(digest)) return digest;
  throw serviceError(`Cannot pin ${image}: the answer is no image that nodes could pull`, {
    where: `${url}: ${kind || "no content-type"}, ${digest}`,
    fix: "open the address in a browser: a proxy or login page may answer in its place",
  });
}

/** What an answer that is not the one wanted means; `what` opens the error. */
export function refusal(what: string, url: string, host: string, status: number): DeployError {
  const login = "the registry wants a login that may pull it", { unreachable, service } = ExitCode;
  const byLogin =
    `docker login ${host}, without a credential helper: its config.json (in DOCKER_CONFIG, ` +
    "or ~/.docker) is read; some registries say so of an image that they do not have";
  const missing = "correct the version or IMAGE_REGISTRY, or mirror the image there";
  const known: Record<number, [why: string, fix: string, exitCode: number]> = {
    401: [login, byLogin, unreachable],
    403: [login, byLogin, unreachable],
    404: ["no such image", missing, service],
    429: ["refused", "it has been asked too often: wait, or log in", service],
  };
  const other = ["refused", "see the registry's own log, and run again", service] as const;
  const [why, fix, exitCode] = known[status] ?? other;
  return new DeployError(`${what}: ${why}`, { exitCode, where: `${url}: HTTP ${status}`, fix });
}

/** Logins that `docker login` has written (`user:password` in base64), by host. @throws {DeployError} exit 2: no JSON. */
export async function readLogins(
  folder = process.env.DOCKER_CONFIG || join(homeFolder(), ".docker"),
): Promise<Map<string, string>> {
  const path = join(folder, "config.json");
  const text = await readFile(path, "utf8").catch(() => "{}");
  try {
    const auths: Record<string, { auth?: string }> = JSON.parse(text).auths ?? {};
    return new Map(
      Object.entries(auths).flatMap(([key, { auth }]) => {
        const host = key.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
        return auth ? [[host === "index.docker.io" ? "docker.io" : host, auth]] : [];
      }),
    );
  } catch {
    const fix = "docker login writes it; or point DOCKER_CONFIG to another folder";
    const what = `Cannot read the logins of registries: ${path} is no JSON`;
    throw configError(what, { fix });
  }
}
