"""The steps of a build, from an empty folder to a built tree. Each step is a program that runs to its end."""

from __future__ import annotations

import re
import time
from collections import deque
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from edgeguard.cluster.host import images, manifest
from edgeguard.errors import BuildFailed, Interrupted, UsageError
from edgeguard.machine import process, sandbox
from edgeguard.machine.sandbox import Sandbox, Seclusion
from edgeguard.release import application as applications
from edgeguard.release import process_variables, submodules
from edgeguard.times import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgeguard.release.application import Application
    from edgeguard.release.source import Source
    from edgeguard.release.submodules import Lacks
    from edgeguard.release.toolchain import Tool

_SHOWN = 20  # lines of output in a failure's message


@dataclass(frozen=True)
class Build:
    """One build under way. A step that fails ends it.

    What the application or a package decides runs in a sandbox, where this machine can make one. It sees the image's
    folder, the folder of downloads, the languages' programs, and files that the variables of `passed` name.
    """

    tools: Sequence[Tool]
    source: Source
    application: Application
    folder: Path
    passed: Mapping[str, str]  # the variables of this process's environment that a build may see
    network: bool
    limit: float
    cancelled: Callable[[], bool]
    output: Callable[[str], None]
    started: float = field(default_factory=time.monotonic)

    @property
    def _deadline(self) -> float:
        return self.started + self.limit

    @property
    def _tool_environment(self) -> dict[str, str]:
        """The environment of our own tools. The application's variables must not change what they do."""
        return {
            "HOME": str(self.folder / "home"),
            "PATH": process_variables.SYSTEM_PATH,
            "TMPDIR": str(self.folder / "tmp"),
        }

    @property
    def cache(self) -> Path:
        """The folder of all builds below this root, for their downloads. It is beside the images, and in none."""
        return self._root / "cache"

    @property
    def _place(self) -> Path:
        return self.application.folder(self.folder)

    @property
    def _root(self) -> Path:
        return self.folder.parent.parent

    @cached_property
    def _sandbox(self) -> Sandbox:
        return Sandbox(
            writable=(self.folder, self.cache),
            readable=tuple(
                place
                for place in (*_named(self.passed), *(place for tool in self.tools for place in tool.places))
                if not any(private.is_relative_to(place) for private in (Path.home(), self._root))
            ),
            hidden=(self._root,),
            home=self.folder / "home",
            network=self.network,
        )

    @cached_property
    def _lack(self) -> str:
        return self._sandbox.lack()

    @cached_property
    def _seclusion(self) -> Seclusion:
        return sandbox.second_best() if self._lack else Seclusion.SANDBOX

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for people where the build is in no sandbox."""
        return (f"{sandbox.without(self._lack)}. {sandbox.REMEDY}",) if self._lack else ()

    def run(self) -> Lacks:
        """Write the tree, install the toolchain and dependencies, then the default build, then the build hook.

        Returns what the tree lacks.

        Raises:
            UsageError: a build should have no network, and there is no sandbox that keeps it from it.
        """
        for name in ("app", "home", "toolchain/bin", "tmp"):
            manifest.make(self.folder / name)
        self.cache.mkdir(mode=0o700, exist_ok=True)
        if self._lack and not self.network:
            raise UsageError(
                f"application.build_network is false, and nothing here keeps a build from the network: {self._lack}",
                f"{sandbox.REMEDY}; or set it to true.",
            )
        lacks = submodules.write(self.source, self.folder / "app", self._deadline)
        for tool in self.tools:
            if tool.warning:
                self.output(tool.warning)
            for argv in tool.install(self.folder / "toolchain", self.folder / "tmp" / "toolchain"):
                self._step(f"the {tool.language} toolchain", argv, env=self._tool_environment)
            tool.settle(self.folder / "toolchain")
        self._dependencies()
        self._default_build()
        if hook := self.application.hooks.get("build"):
            self.output("running hooks.build")
            self._step("hooks.build", applications.shell(hook))
        if self.application.language == "python":
            self._compile()
        self._check()
        self._mounts()
        return lacks

    def _check(self) -> None:
        """Refuse what can't be frozen, and remove what is beside the parts of an image.

        The build was free to put anything there, also links to places outside that root's hand would follow.
        """
        for part in images.FROZEN:
            if said := manifest.unfit(self.folder / part):
                raise BuildFailed(f"the build left what can't be in an image: {said}", "Let the build remove it.")
        if not self._place.resolve().is_relative_to((self.folder / "app").resolve()):
            raise BuildFailed("the build made source.root a link out of the image", "Let it leave that folder there.")
        for path in self.folder.iterdir():
            if path.name not in images.FROZEN:
                manifest.remove(path)

    def _dependencies(self) -> None:
        packages = self.application.dependencies
        if python := packages.get("python3"):
            self.output(f"installing {', '.join(python)}")
            named = [name + _python_version(version) for name, version in python.items()]
            self._step("dependencies.python3", ["pip", "install", "--quiet", "--", *named])
        if nodejs := packages.get("nodejs"):
            self.output(f"installing {', '.join(nodejs)}")
            named = [f"{name}@{version}" for name, version in nodejs.items()]
            self._step("dependencies.nodejs", ["npm", "install", "--global", "--no-progress", "--", *named])

    def _default_build(self) -> None:
        """Run Upsun's default command for Node.js if there is a package.json. Python has no default build."""
        wanted = self.application.flavor == "default" and self.application.language == "nodejs"
        if wanted and (self._place / "package.json").exists():
            self.output("running npm install")
            script = "npm prune --userconfig .npmrc && npm install --userconfig .npmrc"
            self._step("npm install", ["sh", "-c", script])

    def _compile(self) -> None:
        """Compile Python's modules now: a read-only tree can't store what each start would compile.

        Files that can't be compiled are left out, and so is pip, which is not needed after the build.
        """
        python = str(self.folder / "toolchain" / "bin" / "python")
        argv = [python, "-I", "-m", "compileall", "-qq", "-x", "node_modules|site-packages/pip/", "app", "toolchain"]
        self._step("compileall", argv, cwd=self.folder, may_fail=True)

    def _mounts(self) -> None:
        """Link each mount to its folder in the store of mounts, which the driver makes. A mount hides what the tree has
        at its place, as at Upsun."""
        store = self._root / "mounts"
        for place, to in self.application.mounts.items():
            link = self._place / place
            if not link.parent.resolve().is_relative_to(self._place.resolve()):
                raise UsageError(
                    f"mounts.{place}: a link of the tree leads it out of the application", "Name another place."
                )
            if link.is_symlink() or link.exists():
                self.output(f"mounts.{place}: the tree has files there; they are not in the release")
                manifest.remove(link)
            manifest.make(link.parent)
            link.symlink_to(store / to)

    def _step(
        self,
        name: str,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        may_fail: bool = False,
    ) -> None:
        """Run one program. Without `env`, the application or a package may decide what runs: it is secluded."""
        said: deque[str] = deque(maxlen=_SHOWN)

        def heard(line: str) -> None:
            said.append(line)
            self.output(line)

        place = cwd or (self._place if self._place.is_dir() else self.folder)
        seclusion = self._seclusion if env is None else Seclusion.NONE
        try:
            with self._sandbox.around(seclusion, argv, env or _environment(self), place) as command:
                code = process.run(
                    command.argv,
                    cwd=place,
                    env=command.environment,
                    limit=self._deadline - time.monotonic(),
                    cancelled=self.cancelled,
                    output=heard,
                    inherit=command.descriptors,
                )
        except process.TimedOut as exc:
            raise BuildFailed(
                f"the build took longer than {duration(self.limit)} and was ended in {name}{_quoted(said)}",
                "Make it faster, or raise application.build_timeout.",
            ) from exc
        except process.Cancelled as exc:
            raise Interrupted(f"interrupted during the build, in {name}", "Nothing was touched.") from exc
        if code and not may_fail:
            raise BuildFailed(f"{name} failed with exit code {code}{_quoted(said)}", "Correct it and deploy again.")


def _named(variables: Mapping[str, str]) -> list[Path]:
    """The files and folders that variables name: certificates, wheels, an agent's socket."""
    words = [word for value in variables.values() for word in re.split(r"[\s:]", value)]
    return [Path(word) for word in words if word.startswith("/") and not word.startswith("//") and Path(word).exists()]


def _quoted(lines: Sequence[str]) -> str:
    return "".join(f"\n  | {line}" for line in lines)


def _python_version(said: str) -> str:
    if said in ("*", "latest", ""):
        return ""
    return said if said[0] in "<>=!~" else f"=={said}"


def _environment(build: Build) -> dict[str, str]:
    """The environment of a build. It has the variables of the application's file, and not those of the settings."""
    return {
        "LANG": "C.UTF-8",
        "PIP_CACHE_DIR": str(build.cache / "pip"),  # pip and npm would keep their downloads in HOME, in the image
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "npm_config_audit": "false",
        "npm_config_cache": str(build.cache / "npm"),
        "npm_config_fund": "false",
        "npm_config_update_notifier": "false",
        **process_variables.interpreter(build.application, build.folder),
        **build.passed,
        **build.application.environment,
        "HOME": str(build.folder / "home"),
        "PATH": process_variables.search_path(build.folder),
        "TMPDIR": str(build.folder / "tmp"),
        "npm_config_prefix": str(build.folder / "toolchain"),  # else `npm install --global` writes beside the real node
        "PLATFORM_APP_DIR": str(build.application.folder(build.folder)),
        "PLATFORM_APPLICATION": process_variables.encoded(process_variables.described(build.application)),
        "PLATFORM_APPLICATION_NAME": build.application.name,
        "PLATFORM_CACHE_DIR": str(build.cache),
        "PLATFORM_OUTPUT_DIR": str(build.application.folder(build.folder)),
        "PLATFORM_SOURCE_DIR": str(build.folder / "app"),
        "PLATFORM_TREE_ID": build.source.released,
        "PLATFORM_VARIABLES": process_variables.encoded(build.application.variables),
    }
