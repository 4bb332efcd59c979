from appserver import testing as testing
from appserver.cli.programmatic import run as run
from appserver.inprocess.embedding import RunningServer as RunningServer
from appserver.inprocess.embedding import serving as serving

__version__: str
