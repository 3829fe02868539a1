/**
 * The version of the Dockerfile language that is read here:
 * https://docs.docker.com/reference/dockerfile/.
 */
export const DOCKERFILE_VERSION = [1, 26] as const;
