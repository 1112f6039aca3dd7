FROM a
RUN [  "a","b c"  ,"d\u0041" ]
CMD ["x"  ]
ENTRYPOINT [ ]
COPY --link [ "a b" , \
   "c" ]
VOLUME ["/a","/b"]
SHELL ["/bin/sh","-c"]
HEALTHCHECK   CMD   [ "a","b" ]
CMD ["not", json]
