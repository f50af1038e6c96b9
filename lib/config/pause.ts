// An edge that is left alone for a while: PAUSED and PAUSED_UNTIL.
import type { Pause, Vars } from "../core/cluster.ts";

/** What the settings of a pause must be together, and that it is over. */
export const PAUSE_RULES = [
  {
    names: ["PAUSED", "PAUSED_UNTIL"],
    broken: (reason: string, until: string) => (reason === "") !== (until === ""),
    because: "set both, why and until which day, or none",
  },
  {
    names: ["PAUSED_UNTIL", "TIMEZONE"],
    broken: (until: string, zone: string) =>
      until !== "" && endOfDay(until, zone) * 1000 <= Date.now(),
    because: "the pause is over, and the cluster counts again: take out PAUSED and PAUSED_UNTIL",
    warns: true,
  },
];

/** The pause of a cluster with these settings, over or not. */
export function pauseIn({ PAUSED, PAUSED_UNTIL, TIMEZONE }: Vars): Pause | undefined {
  if (PAUSED === "") return undefined;
  const until = String(PAUSED_UNTIL);
  return { reason: String(PAUSED), until, end: endOfDay(until, String(TIMEZONE)) };
}

/** Seconds since 1970 when a day (`2026-12-04`) is over in a zone. */
function endOfDay(day: string, zone: string): number {
  const next = Temporal.PlainDate.from(day).add({ days: 1 });
  return next.toZonedDateTime(zone).epochMilliseconds / 1000;
}
