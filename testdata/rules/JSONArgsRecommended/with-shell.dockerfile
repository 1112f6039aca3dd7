FROM scratch AS a
SHELL ["/bin/bash", "-c"]
CMD run it
FROM a
ENTRYPOINT run it
