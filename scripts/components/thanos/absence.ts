// Edges that Thanos Query lacks: those that are lost, and those that nobody has deployed yet.
import type { Cluster, Peer } from "../../../lib/core/cluster.ts";
import { type Deployed, deployedOn } from "../../../lib/kube/deployed.ts";
import { missingEdges, shows, type Stores } from "./stores.ts";

/** An edge that should be there; `reason` says why it could not be asked itself. */
export interface Lost {
  edge: Peer;
  reason?: string;
}

export interface Absence {
  lost: Lost[];
  /** Edges that need not be there yet. */
  excused: Peer[];
  /** Why not, as sentences: `not deployed yet: 197, 198`. */
  notes: string[];
}

/**
 * Asks each of these edges that Query lacks whether it was ever deployed. One that cannot be asked counts
 * as lost; one that this machine has no context for only where the bucket has blocks of it.
 */
export async function absenceOf(
  stores: Stores,
  edges: Peer[],
  fleet: Cluster[],
): Promise<Absence> {
  const asked = await Promise.all(
    missingEdges(stores, edges).map(async (edge) => {
      const found = await ask(edge, fleet);
      const hasBlocks = found.state === "no access" && shows(stores, "store", edge.name);
      return { edge, ...found, ...hasBlocks ? { state: "unknown" as const } : {} };
    }),
  );
  const isLost = ({ state }: Deployed) => state === "deployed" || state === "unknown";
  const excused = asked.filter((one) => !isLost(one));
  const notes = Map.groupBy(excused, noteOf);
  return {
    lost: asked.filter(isLost).map(({ edge, reason }) => ({ edge, reason })),
    excused: excused.map(({ edge }) => edge),
    notes: [...notes].map(([note, those]) =>
      `${note}: ${those.map(({ edge }) => edge.id).join(", ")}`
    ),
  };
}

/** Of an edge that is none of `fleet` nothing tells that it is not there. */
async function ask(edge: Peer, fleet: Cluster[]): Promise<Deployed> {
  const cluster = fleet.find(({ id }) => id === edge.id);
  return cluster ? await deployedOn(cluster, "20-prometheus") : { state: "deployed" };
}

function noteOf({ state, reason }: Deployed): string {
  if (state === "running") return "being deployed at this moment";
  return state === "no access" ? `not deployed yet (${reason})` : "not deployed yet";
}
