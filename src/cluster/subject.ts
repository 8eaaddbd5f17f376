/** Tokens parted by dots: no blanks, which would end the subject on the wire, and no wildcards. */
const exact = /^[^\s.*>]+(?:\.[^\s.*>]+)*$/;

export const isSubject = (subject: string): boolean => exact.test(subject);

/**
 * Tells the subjects that one is subscribed to.
 *
 * @throws TypeError when the subject is neither exact nor ends in `.>`
 */
export function matcherOf(subject: string): (other: string) => boolean {
  const above = subject.endsWith('.>') ? subject.slice(0, -2) : subject;
  if (!isSubject(above)) throw new TypeError(`'${subject}' is no subject.`);
  if (above === subject) return (other) => other === subject;
  const prefix = `${above}.`;
  return (other) => other.startsWith(prefix);
}

/** @throws TypeError when it is no name of a group */
export function checkedGroup(group: string): string {
  if (!isSubject(group)) throw new TypeError(`'${group}' is no name of a group.`);
  return group;
}
