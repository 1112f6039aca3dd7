FROM a
RUN <<EOF   cat   >x


  # kept   
	kept \

EOF
COPY <<-'A' <<"B b" /x/


	A
no
B b
ONBUILD copy   <<E   /y
  z   
E
RUN cat  <<E   > f && \
  ls
x
E
