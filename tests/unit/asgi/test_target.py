"""appserver.asgi.target and its hints: the object that an import string names, or why there is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from appserver.asgi.target import Target
from appserver.errors import ApplicationImportError
from tests.unit.asgi.conftest import Project

APPLICATION = "async def app(scope, receive, send): ...\n"


def load(project: Project, target: str) -> object:
    """Load what `target` names, with the project's directory first on sys.path."""
    if str(project.directory) not in sys.path:
        sys.path.insert(0, str(project.directory))
    return Target.parse(target).load(project.directory)


def failure(project: Project, target: str) -> ApplicationImportError:
    """Return the error that loading `target` ends with."""
    with pytest.raises(ApplicationImportError) as raised:
        load(project, target)
    return raised.value


def lines(project: Project, target: str) -> list[str]:
    """Return the lines of the message that loading `target` ends with, without the one prefix they all share."""
    error = failure(project, target)
    first, *others = str(error).splitlines()
    prefix = f'app.target = "{target}": '
    assert first.startswith(prefix)
    assert all(line.startswith("  ") for line in others)
    assert error.exit_code == 4
    return [first.removeprefix(prefix), *(line.strip() for line in others)]


class TestATarget:
    def test_names_an_attribute_of_a_module(self, project: Project) -> None:
        project.write("main.py", "app = 'the application'")
        assert load(project, "main:app") == "the application"

    def test_names_attributes_of_attributes_in_modules_of_packages(self, project: Project) -> None:
        project.write("pkg/__init__.py")
        project.write("pkg/main.py", "class api:\n    class v1:\n        app = 'the application'")
        assert load(project, "pkg.main:api.v1.app") == "the application"
        assert str(Target.parse("pkg.main:api.v1.app")) == "pkg.main:api.v1.app"


class TestAModuleThatDoesNotExist:
    def test_is_said_with_what_was_tried_and_the_nearest_name(self, project: Project) -> None:
        project.write("main.py")
        project.write("models.py")
        missing, tried, meant, there = lines(project, "mian:app")
        assert missing == 'there is no module "mian"'
        assert tried.startswith(f"looked in app.directory = {project.directory}, then in ")
        assert meant == 'did you mean "main:app"?'
        assert there == "modules there: main, models"
        assert failure(project, "mian:app").traceback == ""

    def test_is_said_without_a_suggestion_where_nothing_is_like_it(self, project: Project) -> None:
        for number in range(10):
            project.write(f"part{number}.py")
        *_, there = lines(project, "zzz:app")
        assert there == "modules there: part0, part1, part2, part3, part4, part5, part6, part7, …"

    def test_is_found_one_folder_below(self, project: Project) -> None:
        project.write("src/main.py")
        project.write("src/shop/__init__.py")
        project.write("docs/readme.txt")
        (project.directory / "locked").mkdir(mode=0)
        for target, name in (("main:app", "main"), ("shop.api:app", "shop")):
            *_, hint = lines(project, target)
            folder = project.directory / "src"
            assert hint == f'"{name}" is in {folder}: set app.directory = "{folder}" (--app-dir)'

    def test_in_a_package_is_said_with_the_nearest_name_there(self, project: Project) -> None:
        init = project.write("pkg/__init__.py")
        project.write("pkg/main.py")
        assert lines(project, "pkg.mian:app") == [
            f'there is no module "mian" in the package "pkg" ({init})',
            'did you mean "pkg.main:app"?',
        ]

    def test_in_a_package_without_init_is_said_with_its_folder(self, project: Project) -> None:
        project.write("pkg/main.py")
        first, *_ = lines(project, "pkg.mian:app")
        assert first == f'there is no module "mian" in the package "pkg" ({project.directory / "pkg"})'

    def test_because_the_attribute_stands_before_the_colon_is_said(self, project: Project) -> None:
        main = project.write("main.py", APPLICATION)
        assert lines(project, "main.api:app") == [
            f'"main" ({main}) is a module, not a package',
            'did you mean "main:api"?',
        ]

    def test_because_it_is_a_file_name_is_said(self, project: Project) -> None:
        project.write("main.py", APPLICATION)
        assert lines(project, "main.py:app")[1] == 'did you mean "main:app"?'


class TestAModuleThatNeedsWhatDoesNotExist:
    def test_is_told_from_one_that_does_not_exist_itself(self, project: Project) -> None:
        main = project.write("main.py", "import sys\nimport not_installed_at_all")
        found, where, advice = lines(project, "main:app")
        assert found == '"main" needs "not_installed_at_all", which is not there'
        assert where == f"imported in {main}, line 2"
        assert advice == f"install what provides it into the environment in {sys.prefix}"
        assert "import not_installed_at_all" in failure(project, "main:app").traceback

    def test_is_told_where_that_is_if_it_is_one_folder_below(self, project: Project) -> None:
        project.write("main.py", "import models.user")
        project.write("src/models/__init__.py")
        assert lines(project, "main:app")[2].startswith(f'"models" is in {project.directory / "src"}')

    def test_may_not_even_say_what(self, project: Project) -> None:
        project.write("main.py", "raise ModuleNotFoundError('install the driver')")
        assert lines(project, "main:app")[0] == '"main" needs "a module", which is not there'


class TestAnAttributeThatDoesNotExist:
    def test_is_said_with_the_application_that_it_is_most_like(self, project: Project) -> None:
        main = project.write("main.py", APPLICATION + "application = app\nhelper = len\n_app = app\n")
        assert lines(project, "main:aplication") == [
            f'module "main" ({main}) has no attribute "aplication"',
            'did you mean "main:application"?',
            "applications there: app, application",
        ]

    def test_is_said_with_the_only_application_however_it_is_called(self, project: Project) -> None:
        project.write("main.py", "class App:\n    async def __call__(self, scope, receive, send): ...\n\nxyz = App()")
        assert lines(project, "main:app")[1:] == ['did you mean "main:xyz"?']

    def test_is_said_with_a_wsgi_application(self, project: Project) -> None:
        project.write("main.py", "class App:\n    def __call__(self, environ, start_response): ...\n\nweb = App()")
        assert lines(project, "main:app")[1:] == ['did you mean "main:web"?']

    def test_is_said_with_a_factory_if_there_is_no_application(self, project: Project) -> None:
        project.write(
            "main.py",
            """
            from asyncio import create_task
            def get(): ...
            def create_all(engine): ...
            def create_app(config=None): ...
            async def make(): ...
            """,
        )
        assert lines(project, "main:app")[1:] == [
            'did you mean "main:create_app" with app.factory = true (--factory)?',
        ]

    def test_is_said_with_the_names_there_if_nothing_looks_like_an_application(self, project: Project) -> None:
        project.write("main.py", "apps = []\nsettings = {}\ndef handler(request, response): ...\n")
        assert lines(project, "main:app")[1:] == [
            "nothing there looks like an application",
            'did you mean "main:apps"?',
            "names there: apps, settings, handler",
        ]

    def test_is_said_in_a_module_that_holds_objects_that_cannot_be_looked_at(self, project: Project) -> None:
        project.write(
            "main.py",
            """
            class Proxy:
                def __call__(self): ...
                def __getattribute__(self, name):
                    raise RuntimeError("outside of a request")

            request = Proxy()
            async def web(scope, receive, send): ...
            """,
        )
        assert lines(project, "main:app")[1:] == ['did you mean "main:web"?']

    def test_is_said_to_be_a_module_if_it_is_one(self, project: Project) -> None:
        project.write("pkg/__init__.py")
        project.write("pkg/main.py", APPLICATION)
        assert lines(project, "pkg:main.app")[1] == (
            '"pkg.main" is a module: write "pkg.main:" and the name of the application in it'
        )

    def test_is_said_of_an_object_with_its_class(self, project: Project) -> None:
        project.write("main.py", "class Site:\n    application = 1\n\nsite = Site()")
        assert lines(project, "main:site.aplication") == [
            '"main:site" is a Site without an attribute "aplication"',
            'did you mean "main:site.application"?',
        ]

    def test_is_said_of_a_package_with_its_folder(self, project: Project) -> None:
        project.write("pkg/main.py", APPLICATION)
        first, nothing = lines(project, "pkg:app")
        assert first == f'module "pkg" ({project.directory / "pkg"}) has no attribute "app"'
        assert nothing == "nothing there looks like an application"

    def test_is_said_of_a_built_in_module(self, project: Project) -> None:
        assert lines(project, "time:app")[0] == 'module "time" (built in) has no attribute "app"'

    def test_is_said_of_a_file_that_is_hidden_by_a_module_of_the_same_name(self, project: Project) -> None:
        for name in ("types", "time"):
            file = project.write(f"{name}.py", APPLICATION)
            assert lines(project, f"{name}:app")[1] == f"{file} is hidden by that module: give your file another name"

    def test_because_looking_it_up_failed_is_said_with_the_traceback(self, project: Project) -> None:
        project.write("main.py", "def __getattr__(name):\n    raise OSError('no database')\n")
        assert lines(project, "main:app") == ['"main", asked for "app", raises OSError: no database']
        assert "__getattr__" in failure(project, "main:app").traceback


class TestAModuleThatRaises:
    def test_is_said_with_its_own_traceback(self, project: Project) -> None:
        main = project.write("main.py", "one = 1\ntwo = 2\nraise ValueError('no')\n")
        assert lines(project, "main:app") == ['module "main" cannot be imported: ValueError: no']
        assert failure(project, "main:app").traceback == (
            "Traceback (most recent call last):\n"
            f'  File "{main}", line 3, in <module>\n'
            "    raise ValueError('no')\n"
            "ValueError: no"
        )

    def test_a_syntax_error_is_said_with_its_line(self, project: Project) -> None:
        project.write("main.py", "def broken(:\n")
        assert lines(project, "main:app") == ['module "main" cannot be imported: SyntaxError: invalid syntax']
        assert "line 1" in failure(project, "main:app").traceback

    def test_and_what_no_code_of_it_raised_is_said_without_a_traceback(self, project: Project) -> None:
        project.write("main.py").write_bytes(b"app = 1\0")
        error = failure(project, "main:app")
        assert "null bytes" in str(error)
        assert "appserver" not in error.traceback

    @pytest.mark.parametrize(
        ("code", "message"),
        [
            ("import sys; sys.exit(3)", 'module "main" calls sys.exit(3) while it is imported'),
            ("raise KeyboardInterrupt", 'interrupted while module "main" was imported'),
            ("raise GeneratorExit", 'module "main" cannot be imported: GeneratorExit'),
        ],
    )
    def test_what_would_end_the_process_is_an_error_like_others(
        self, project: Project, code: str, message: str
    ) -> None:
        project.write("main.py", code)
        assert lines(project, "main:app")[0] == message
        assert failure(project, "main:app").traceback

    def test_does_not_stay_half_imported(self, project: Project) -> None:
        project.write("main.py", "import helper\nraise ValueError('no')\n")
        project.write("helper.py")
        failure(project, "main:app")
        assert "main" not in sys.modules
        project.write("main.py", APPLICATION)
        assert callable(load(project, "main:app"))


class TestModulesThatImportEachOther:
    def test_are_shown_as_a_circle_if_a_name_is_missing(self, project: Project) -> None:
        project.write("main.py", "import models")
        project.write("models.py", "import services\nclass User: ...\n")
        project.write("services.py", "from models import User\n")
        problem, circle, advice = lines(project, "main:app")
        assert problem.startswith('module "main" cannot be imported: ImportError: cannot import name')
        assert circle == "these modules import each other: models → services → models"
        assert advice == "move one of these imports into the function that needs it"

    def test_are_shown_as_a_circle_if_an_attribute_is_missing(self, project: Project) -> None:
        project.write("main.py", "import models\n\nclass Base: ...\n")
        project.write("models.py", "import main\n\nclass User(main.Base): ...\n")
        assert lines(project, "main:app")[1] == "these modules import each other: main → models → main"

    def test_are_shown_in_order_if_it_is_not_known_where_the_circle_begins(self, project: Project) -> None:
        project.write("main.py", "import models\n")
        project.write("models.py", "raise AttributeError('circular import, says the framework')\n")
        assert lines(project, "main:app")[1] == "these modules import each other: main → models"

    def test_an_exception_that_has_no_text_is_the_applications_all_the_same(self, project: Project) -> None:
        text = "class Silent(Exception):\n    def __str__(self):\n        raise ValueError('broken')\n"
        project.write("main.py", f"{text}\nraise Silent\n")
        [problem] = lines(project, "main:app")
        assert problem == 'module "main" cannot be imported: main.Silent: <exception str() failed>'


def test_a_name_that_python_itself_uses_is_explained_in_a_fresh_interpreter(tmp_path: Path) -> None:
    (tmp_path / "asyncio.py").write_text(APPLICATION)
    program = dedent(
        """
        import sys
        from pathlib import Path
        from appserver.asgi.target import Target
        from appserver.errors import ApplicationImportError
        sys.path.insert(0, sys.argv[1])
        try:
            Target.parse("asyncio:app").load(Path(sys.argv[1]))
        except ApplicationImportError as error:
            print(error)
        """
    )
    command = [sys.executable, "-c", f"import asyncio\n{program}", str(tmp_path)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "asyncio.py is hidden by that module: give your file another name" in shown
