declare const PACKAGE_VERSION: string;

/** This package's version, as in package.json: the build puts it here. */
export function packageVersion(): string {
  return PACKAGE_VERSION;
}
