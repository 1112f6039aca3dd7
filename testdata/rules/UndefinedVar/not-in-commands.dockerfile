FROM scratch
RUN echo $a
CMD echo $a
ENTRYPOINT ["$a"]
HEALTHCHECK CMD $a
SHELL ["$a"]
ONBUILD COPY $a /b
