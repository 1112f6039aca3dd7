from a
run   <<EOF   cat   >x


  # kept   
	kept \

EOF
COPY   <<-'A'   <<"B b"   /x/   


	A
no
B b
onbuild   copy   <<E   /y
  z   
E
RUN   cat  <<E   > f && \
  ls
x
E
