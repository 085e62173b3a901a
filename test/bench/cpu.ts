import { readdirSync, readFileSync } from "node:fs";

/** USER_HZ, which Linux has fixed at 100 for /proc. */
const TICK_US = 10_000;

type Times = { parent: number; own: number; endedChildren: number };

/** CPU time in µs that a process has used with all its threads; NaN where there is no /proc. */
export function cpuOf(pid: number): number {
  return timesOf(pid)?.own ?? Number.NaN;
}

/** CPU time in µs of a process and all its children, ended ones included; NaN where there is no /proc. */
export function cpuOfFamily(pid: number): number {
  const head = timesOf(pid);
  if (!head) return Number.NaN;
  const children = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => timesOf(Number(name)))
    .filter((times) => times?.parent === pid);
  return children.reduce((sum, times) => sum + (times?.own ?? 0), head.own + head.endedChildren);
}

/** proc(5): after the name in brackets, ppid is field 4, utime to cstime are fields 14 to 17. */
function timesOf(pid: number): Times | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat
      .slice(stat.lastIndexOf(")") + 2)
      .split(" ")
      .map(Number);
    const [user = 0, system = 0, endedUser = 0, endedSystem = 0] = fields.slice(11, 15);
    return {
      parent: fields[1] ?? 0,
      own: (user + system) * TICK_US,
      endedChildren: (endedUser + endedSystem) * TICK_US,
    };
  } catch {
    return undefined; // It has just ended, or this is no Linux.
  }
}
