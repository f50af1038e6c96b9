// Clusters of one fleet that must not collide.
import rules from "../../env/rules.json" with { type: "json" };
import type { Vars } from "../core/cluster.ts";
import type { Candidate } from "./merge.ts";

/** Rules between the clusters of a fleet; lines of `source  what is wrong`. */
export function fleetProblems(drafts: Candidate[]): string[] {
  return [
    ...repeated(drafts),
    ...sharedServers(drafts),
    ...sharedSidecars(drafts),
    ...unequalProblems(drafts),
    ...centralProblem(drafts),
  ];
}

function repeated(drafts: Candidate[]): string[] {
  return Object.entries(rules.unique).flatMap(([name, because]) => {
    const known = drafts.filter(({ vars }) => name in vars);
    return known.flatMap(({ vars, sources }) => {
      const first = known.find((other) => other.vars[name] === vars[name])!;
      if (first.vars === vars) return [];
      const where = `${sources[name]}  ${name} is "${vars[name]}", as in ${first.sources[name]}`;
      return [`${where}: must be unique, or ${because}`];
    });
  });
}

/** Clusters behind one API_HOST, of which the guard could not tell one from the other. */
function sharedServers(drafts: Candidate[]): string[] {
  const known = drafts.filter(({ vars }) =>
    // The demo makes its own kubeconfig, with ports that are free.
    "API_HOST" in vars && "NODE_IP" in vars && !vars.SIMULATED_NODES
  );
  const serverOf = ({ vars }: Candidate) => String(vars.API_HOST || vars.NODE_IP).toLowerCase();
  return known.filter(({ vars }) => vars.API_HOST !== "").flatMap((draft) => {
    const [host, port] = serverOf(draft).split(":");
    const twin = known.find((other) => {
      const [name, number] = serverOf(other).split(":");
      return other !== draft && name === host && (!port || !number || port === number);
    });
    if (!twin) return [];
    const where = `${draft.sources.API_HOST}  API_HOST is "${draft.vars.API_HOST}"`;
    return [
      `${where}, and ${twin.file} leads there too: give each its own HOST:PORT in its own file, or ` +
      "one is deployed over the other",
    ];
  });
}

/** HOST:PORT at which the centre dials the sidecar of a cluster. */
export function sidecarOf({ SIDECAR_ADDRESS, NODE_IP, SIDECAR_NODE_PORT }: Vars): string {
  const address = String(SIDECAR_ADDRESS || NODE_IP).toLowerCase();
  return address.includes(":") ? address : `${address}:${SIDECAR_NODE_PORT}`;
}

function sharedSidecars(drafts: Candidate[]): string[] {
  const known = drafts.filter(({ vars }) =>
    vars.CLUSTER_ROLE === "edge" && "SIDECAR_ADDRESS" in vars && "SIDECAR_NODE_PORT" in vars
  );
  return known.filter(({ vars }) => vars.SIDECAR_ADDRESS !== "").flatMap(({ sources, vars }) => {
    const address = sidecarOf(vars);
    const twin = known.find((other) => other.vars !== vars && sidecarOf(other.vars) === address);
    if (!twin) return [];
    const where = `${sources.SIDECAR_ADDRESS}  SIDECAR_ADDRESS is "${vars.SIDECAR_ADDRESS}"`;
    return [`${where}, where ${twin.file} is dialled too: the centre would leave one of them out`];
  });
}

function unequalProblems(drafts: Candidate[]): string[] {
  return Object.entries(rules.equal).flatMap(([name, because]) => {
    const [first, ...others] = drafts.filter(({ vars }) => name in vars);
    const other = others.find(({ vars }) => vars[name] !== first?.vars[name]);
    if (!first || !other) return [];
    const [odd, rest] = other.sources[name] === "default" ? [first, other] : [other, first];
    const state = `${name} is ${odd.vars[name]}, elsewhere ${rest.vars[name]}`;
    return [`${odd.sources[name]}  ${state}: ${because}`];
  });
}

function centralProblem(drafts: Candidate[]): string[] {
  const centrals = drafts.filter(({ vars }) => vars.CLUSTER_ROLE === "central");
  // A role that cannot be read may be the missing one.
  const unsure = drafts.some(({ vars }) => !vars.CLUSTER_ROLE);
  if (centrals.length === 1 || drafts.length === 0 || (centrals.length === 0 && unsure)) return [];
  const found = centrals.map(({ sources }) => sources.CLUSTER_ROLE);
  const state = found.length === 0
    ? "it is in none"
    : `it is in ${found.join(" and ")}, and two Compactors corrupt the bucket`;
  const where = found.at(-1) ?? drafts.at(-1)!.file;
  return [`${where}  CLUSTER_ROLE must be central in exactly one file: ${state}`];
}
