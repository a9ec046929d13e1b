/**
 * A world without some sites: their addresses are taken out of the settings before anything is opened, and whoever asks
 * for one of their pools or arrays all the same gets an error before anything is sent.
 */
import { PortError } from '../../domain/errors.ts';
import type { Settings } from '../../domain/settings.ts';
import type { Home, Outside } from '../../ports/home.ts';

/** Pools and catalog targets of the closed sites are gone; arrays stay named, because their partners know them. */
export function withoutSites(settings: Settings, closed: ReadonlySet<string>): Settings {
  return {
    ...settings,
    sites: settings.sites.filter(({ name }) => !closed.has(name)),
    catalog: {
      ...settings.catalog,
      targets: settings.catalog.targets.filter(({ site }) => site === undefined || !closed.has(site)),
    },
  };
}

export function openClosed(home: Home, settings: Settings, sites: readonly string[]): Outside {
  const closed = new Set(sites);
  const opened = home.openAnew(withoutSites(settings, closed));
  const siteOfArray = new Map(settings.arrays.map(({ name, site }) => [name, site]));
  return {
    hypervisor: async (site) => {
      if (closed.has(site)) throw isClosed(site, `its pool`);
      return opened.hypervisor(site);
    },
    array: async (name) => {
      const site = siteOfArray.get(name);
      if (site !== undefined && closed.has(site)) throw isClosed(site, `array ${name}`);
      return opened.array(name);
    },
    catalog: () => opened.catalog(),
    close: () => opened.close(),
  };
}

function isClosed(site: string, what: string): PortError {
  return new PortError('unreachable', {
    code: 'DR-SELF-CLOSED',
    what: `Site ${site} is closed to this rehearsal, and with it ${what}`,
    where: { site },
    next: 'Nothing: the rehearsal of Lifeboat itself takes production for lost, and asks nobody there',
  });
}
