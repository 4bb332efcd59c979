# appserver as the base of an image for an application:
#
#     podman build --format docker --tag appserver .
#
# Without the option podman makes an OCI image, which has no HEALTHCHECK; docker knows no such option, and needs none.
#
# deploy/example/ is an application on top of it. An application can also be mounted:
#
#     podman run --rm --publish 8000:8000 --volume ./app:/srv/app:ro --env APPSERVER_APP__TARGET=main:app appserver
#
# It serves /srv/app as /etc/appserver/server.toml says (config/container.toml), which can be mounted or copied over, and every
# setting of which can come from the environment (APPSERVER_SECTION__KEY). It runs as any user, and needs to write nowhere.

# Any image with Python 3.11 or newer as python3, and its venv module.
ARG BASE=docker.io/library/python:3.13-slim

FROM ${BASE} AS build
# Packages of Debian for building dependencies that have no wheel for this machine, such as "gcc libc6-dev"; they stay behind
# in this stage. Where packages of Python come from says pip's own environment (PIP_INDEX_URL ...), as build arguments.
ARG BUILD_PACKAGES=
# 1 compiles the way of a request. That takes BUILD_PACKAGES="gcc libc6-dev", and python3-dev if Python is Debian's.
ARG APPSERVER_COMPILE=0
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS PIP_NO_INDEX
RUN [ -z "$BUILD_PACKAGES" ] || { apt-get update && apt-get install --yes --no-install-recommends $BUILD_PACKAGES; }
COPY pyproject.toml README.md LICENSE /src/
COPY .build /src/.build
COPY appserver /src/appserver
RUN python3 -m venv /opt/appserver && /opt/appserver/bin/pip install --no-cache-dir '/src[fast]'

FROM ${BASE}
# Images of Python come without the bytecode of its standard library (the official ones), and nothing writes it later: each start
# and each reload would compile it anew.
RUN python3 -m compileall -q -x '/tests?/' "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=build /opt/appserver /opt/appserver
# Readable for everybody, whatever the umask was under which the project was checked out.
COPY --chmod=644 config/container.toml /etc/appserver/server.toml
ENV PATH=/opt/appserver/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    APPSERVER_CONFIG=/etc/appserver/server.toml \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# For the control socket, whoever the container runs as.
RUN mkdir --mode=1777 /run/appserver
WORKDIR /srv/app
# A number, because "runAsNonRoot" of Kubernetes cannot tell who a name is.
USER 10001:10001
EXPOSE 8000 9464
STOPSIGNAL SIGTERM
# Health is what /readyz says: the wanted workers serve. It is asked by Python, so that the image needs no curl.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python3", "-c", "import urllib.request as client; client.urlopen('http://127.0.0.1:9464/readyz', timeout=4)"]
ENTRYPOINT ["appserver"]
