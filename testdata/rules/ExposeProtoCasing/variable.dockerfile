FROM scratch
ARG p=TCP
EXPOSE 80/$p
