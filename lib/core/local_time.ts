// Times as the people of a site read them. What asks Intl is made once for many times: that takes a millisecond.

/** Gives the minutes by which a zone is ahead of UTC at a time. */
export function offsetsOf(zone: string): (time: Date) => number {
  const format = new Intl.DateTimeFormat("en", { timeZone: zone, timeZoneName: "longOffset" });
  return (time) => {
    const { value } = format.formatToParts(time).find(({ type }) => type === "timeZoneName")!;
    const [, sign, hours, minutes] = /([+-])(\d+):(\d+)/.exec(value) ?? [];
    return hours ? Number(`${sign}1`) * (Number(hours) * 60 + Number(minutes)) : 0;
  };
}

/** Gives a time as ISO 8601 to the millisecond with the zone's offset, or Z: `2026-11-29T12:00:00.000+09:00`. */
export function clockOf(zone: string): (time: Date) => string {
  const offsetAt = offsetsOf(zone);
  return (time) => {
    const offset = offsetAt(time);
    if (offset === 0) return time.toISOString();
    const [hours, minutes] = [Math.floor(Math.abs(offset) / 60), Math.abs(offset) % 60]
      .map((part) => String(part).padStart(2, "0"));
    const moved = new Date(time.getTime() + offset * 60_000).toISOString();
    return moved.replace("Z", `${offset < 0 ? "-" : "+"}${hours}:${minutes}`);
  };
}
