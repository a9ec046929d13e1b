/**
 * `lifeboat rehearse`: could this instance carry out every failover now? Production is taken for lost, one site after the
 * other, and everything outside is opened anew, so that a session of yesterday proves nothing. Nothing is changed.
 */
import { type SelfRehearsal, selfOutcomeOf, type TrialSection } from '../domain/self-rehearsal.ts';
import type { Settings } from '../domain/settings.ts';
import type { Context } from './app.ts';
import { asTheyStand, type GroupAsItStands } from './groups.ts';
import type { AppPorts } from './ports.ts';
import { openClosed, withoutSites } from './self/closed.ts';
import { type LostSiteResult, rehearseLostSite } from './self/lost-site.ts';
import { machineTrial, secretsTrial, settingsTrial } from './self/own-trials.ts';

/** The result is kept, for `status`, metrics and notices. */
export async function rehearseSelf(ports: AppPorts, context: Context = {}): Promise<SelfRehearsal> {
  const began = ports.clock.monotonicSeconds();
  const { section, settings } = await settingsTrial(ports, context);
  const own: TrialSection[] = [
    section,
    await machineTrial(ports, settings, context),
    await secretsTrial(ports, settings, context),
  ];
  const standing = await asTheyStand(await ports.states(), settings.groups);
  const lostSites = [...new Set(standing.map(({ group }) => group.production))];
  const results: LostSiteResult[] = [];
  for (const lost of lostSites)
    results.push(
      await withoutSite(
        ports,
        settings,
        lost,
        standing.filter(({ group }) => group.production === lost),
        context,
      ),
    );
  const sections = [...own, ...results.flatMap((result) => titled(result, lostSites.length > 1))];
  const groups = results.flatMap((result) => result.groups);
  const rehearsal: SelfRehearsal = {
    takenAt: ports.clock.now(),
    version: ports.version,
    tookSeconds: ports.clock.monotonicSeconds() - began,
    outcome: selfOutcomeOf(sections, groups),
    sections,
    groups,
  };
  await (await ports.home.rehearsals()).save(rehearsal);
  return rehearsal;
}

async function withoutSite(
  ports: AppPorts,
  settings: Settings,
  lost: string,
  groups: readonly GroupAsItStands[],
  context: Context,
): Promise<LostSiteResult> {
  const outside = openClosed(ports.home, settings, [lost]);
  try {
    const oriented = { ...withoutSites(settings, new Set([lost])), groups: groups.map(({ group }) => group) };
    return await rehearseLostSite({
      ports: {
        ...ports,
        // Checks compare a group with all the others, whichever site they run at.
        settings: { ...oriented, groups: [...oriented.groups, ...others(settings, groups)] },
        hypervisor: outside.hypervisor,
        array: outside.array,
        catalog: outside.catalog,
      },
      outside,
      lost,
      groups,
      context,
    });
  } finally {
    await outside.close();
  }
}

function others(settings: Settings, groups: readonly GroupAsItStands[]): Settings['groups'] {
  return settings.groups.filter(({ name }) => !groups.some(({ group }) => group.name === name));
}

/** Where two sites protect each other, the same thing is tried once without each of them. */
function titled({ sections, groups }: LostSiteResult, several: boolean): TrialSection[] {
  const lost = groups.find(({ lostSite }) => lostSite !== null)?.lostSite ?? null;
  return sections.map((section) =>
    several && lost !== null ? { ...section, about: `${section.about}, without site ${lost}` } : section,
  );
}
