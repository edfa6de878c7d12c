# The first sector of the test guest: loads the rest of the floppy, asks the BIOS for a 32-bit
# linear framebuffer and its text font, enters protected mode and calls guest_main() (guest.c).
# Everything that needs the BIOS happens here; guest.c never goes back to it.

.set MODE_INFO, 0x5000         # VBE mode information block, 256 bytes
.set FONT, 0x6000              # 256 glyphs of 16 bytes each
.set REST_SECTORS, 17          # what remains of the first floppy track
.set VBE_MODE, 0x4143          # 800x600, 32 bits per pixel, linear framebuffer
.set STACK, 0x70000

.code16
.globl _start
_start:
        cli
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        cld
        sti

        movw    $(0x0200 + REST_SECTORS), %ax
        movw    $0x0002, %cx           # cylinder 0, sector 2
        xorb    %dh, %dh               # head 0; the BIOS left our drive in DL
        movw    $0x7e00, %bx
        int     $0x13
        jc      fail

        movw    $0x4f01, %ax
        movw    $(VBE_MODE & 0x1ff), %cx
        movw    $MODE_INFO, %di
        int     $0x10
        cmpw    $0x004f, %ax
        jne     fail

        movw    $0x4f02, %ax
        movw    $VBE_MODE, %bx
        int     $0x10
        cmpw    $0x004f, %ax
        jne     fail

        movw    $0x1130, %ax           # ES:BP = the 8x16 font
        movb    $6, %bh
        int     $0x10
        pushw   %ds
        pushw   %es
        popw    %ds
        movw    %bp, %si
        xorw    %ax, %ax
        movw    %ax, %es
        movw    $FONT, %di
        movw    $2048, %cx
        rep movsw
        popw    %ds

        cli
        inb     $0x92, %al             # the fast A20 gate
        orb     $2, %al
        andb    $0xfe, %al
        outb    %al, $0x92
        lgdt    gdt_pointer
        movl    %cr0, %eax
        orl     $1, %eax
        movl    %eax, %cr0
        ljmp    $0x08, $protected

fail:
        movw    $0x0e21, %ax           # a '!' on the text screen, then stop
        int     $0x10
        hlt
        jmp     fail

.code32
protected:
        movw    $0x10, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %fs
        movw    %ax, %gs
        movw    %ax, %ss
        movl    $STACK, %esp
        movl    $__bss_start, %edi
        movl    $__bss_end, %ecx
        subl    %edi, %ecx
        xorl    %eax, %eax
        rep stosb
        movzwl  MODE_INFO + 16, %eax   # bytes per line
        pushl   $FONT
        pushl   %eax
        pushl   MODE_INFO + 40         # physical address of the framebuffer
        call    guest_main
1:      hlt
        jmp     1b

        .balign 8
gdt:
        .quad   0
        .quad   0x00cf9a000000ffff     # 0x08: flat code
        .quad   0x00cf92000000ffff     # 0x10: flat data
gdt_pointer:
        .word   . - gdt - 1
        .long   gdt

        .org    510
        .word   0xaa55

        .section .note.GNU-stack, "", @progbits
